//! The oracle for a whole connection: bytes and clock steps in, events and output out.

use super::script::{Script, Setting, Step, steps};
use super::stage::{Outcome, ReadTarget, Stage};
use super::stream::legal_output;

/// One script, played five times: with all bytes between two other steps in one piece, and in two
/// pieces and byte by byte, each to be copied and where it stays. The events and the output have to
/// be the same, the output a legal server's, memory within what the limits and the bytes on hand
/// allow, and every deadline in the future once it has been served.
pub fn connection(bytes: &[u8]) {
    let mut script = Script(bytes);
    let setting = Setting::of(&mut script);
    let cut = script.byte();
    let steps = steps(&mut script);
    let whole = play(&setting, &steps, ReadTarget::Lent, |bytes| vec![bytes]);
    legal_output(&setting, &whole.heard);
    for (read_target, name) in [
        (ReadTarget::Lent, "lent"),
        (ReadTarget::InPlace, "in place"),
    ] {
        let halves = play(&setting, &steps, read_target, |bytes| {
            let (left, right) = bytes.split_at(bytes.len() * usize::from(cut) / 256);
            vec![left, right]
        });
        assert_eq!(halves, whole, "cut at {cut}/256, {name}");
    }
    for (read_target, name) in [
        (ReadTarget::Lent, "lent"),
        (ReadTarget::InPlace, "in place"),
    ] {
        let bytewise = play(&setting, &steps, read_target, |bytes| {
            bytes.chunks(1).collect()
        });
        assert_eq!(bytewise, whole, "byte by byte, {name}");
    }
}

fn play(
    setting: &Setting,
    steps: &[Step],
    read_target: ReadTarget,
    cut: impl Fn(&[u8]) -> Vec<&[u8]>,
) -> Outcome {
    let mut stage = Stage::new(setting, read_target);
    for step in steps {
        match step {
            Step::Bytes(bytes) => cut(bytes)
                .into_iter()
                .for_each(|piece| stage.receive(piece)),
            Step::Wait(time) => stage.wait(*time),
            Step::Send(opcode, payload, ownership) => stage.send(*opcode, payload, *ownership),
            Step::Answer => stage.answer_late(),
            Step::Read(len) => stage.read(*len),
            Step::Close(code, reason) => stage.close(*code, reason),
            Step::Eof => stage.end(),
        }
        stage.check();
    }
    stage.drain();
    stage.outcome
}
