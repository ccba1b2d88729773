//! [`Peers`]: the other nodes, as far as they are heard: what of theirs has come, and what is missing.

use std::collections::HashMap;
use std::time::Duration;

use super::clock::{behind, micros};
use super::envelope::{Envelope, Heartbeat, Past, Sender};
use super::moving_body::Place;
use super::peer::{Hole, PEER_TIMEOUT, Peer, Standing};
use super::published::QUEUE_TIME;
use crate::base::{BadRecord, MonotonicTime, Record};

/// All senders that have been heard lately, by their epochs: one that has no number yet is the same
/// one later.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: HashMap<u64, Peer>,
}

/// What becomes of an envelope that is signed as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It counts.
    New,
    /// It counts, and is the first one of its sender.
    First,
    /// It has been heard before, or is older than what its sender has sent since.
    Repeated,
    /// It may be of now, or a record: its sender has not answered the challenge.
    Unproven,
    /// Its time is not near enough to ours.
    Untimely,
}

/// What is told of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerState {
    pub(super) sender: Sender,
    pub(super) beat: Heartbeat,
    /// How long ago it was heard.
    pub(super) silence: Duration,
}

impl Peers {
    /// Judges an envelope. `wall_clock`: seconds since 1970, here.
    pub(super) fn judge(
        &mut self,
        envelope: &Envelope<'_>,
        wall_clock: u64,
        now: MonotonicTime,
    ) -> Verdict {
        if envelope.sent_at.abs_diff(wall_clock) > MAX_CLOCK_DIFFERENCE.as_secs() {
            return Verdict::Untimely;
        }
        let peer = self.peer(envelope.sender, now);
        let floor = match peer.standing {
            Standing::Proven { floor } => floor,
            Standing::Unknown | Standing::Lapsed => {
                return match peer.window.has(envelope.sequence) {
                    true => Verdict::Repeated,
                    false => Verdict::Unproven,
                };
            }
        };
        // A channel that was not heard until now has envelopes that are new here and old all the same.
        if envelope.clock < floor || !peer.window.note(envelope.sequence) {
            return Verdict::Repeated;
        }
        let newest = envelope.clock.saturating_sub(LONGEST_WAY);
        peer.standing = Standing::Proven {
            floor: floor.max(newest),
        };
        peer.sent_last = envelope.clock;
        peer.clock.note_most(behind(now, envelope.clock), now);
        let heard_before = peer.last_heard.replace(now);
        match heard_before {
            None => Verdict::First,
            Some(_) => Verdict::New,
        }
    }

    /// The sender of this has answered the challenge that was made up at the time `since`: it was
    /// sent after that, and so was what it sends from now on.
    pub(super) fn prove(
        &mut self,
        envelope: &Envelope<'_>,
        since: MonotonicTime,
        now: MonotonicTime,
    ) {
        let peer = self.peer(envelope.sender, now);
        if matches!(peer.standing, Standing::Unknown | Standing::Lapsed)
            && !peer.window.has(envelope.sequence)
        {
            // By its clock the challenge is not older than by ours.
            let age = u64::try_from((now - since).as_micros()).unwrap_or(u64::MAX);
            let floor = envelope
                .clock
                .saturating_sub(age.saturating_add(LONGEST_WAY));
            peer.standing = Standing::Proven { floor };
        }
    }

    /// The peer of this epoch.
    pub(super) fn sender_of(&self, epoch: u64) -> Option<Sender> {
        self.known.get(&epoch).map(|peer| peer.sender(epoch))
    }

    /// Whether a peer has to prove that it is there.
    pub(super) fn is_unproven(&self, sender: Sender) -> bool {
        let peer = self.known.get(&sender.epoch);
        !peer.is_some_and(|peer| matches!(peer.standing, Standing::Proven { .. }))
    }

    /// Nobody has proven anything to the connection that is made next.
    pub(super) fn forget_proofs(&mut self) {
        for peer in self.known.values_mut() {
            if matches!(peer.standing, Standing::Proven { .. }) {
                peer.standing = Standing::Lapsed;
            }
            peer.asked_at = None;
        }
    }

    /// Whether a peer is to be asked for a proof now; it is taken to be.
    pub(super) fn may_ask(&mut self, sender: Sender, now: MonotonicTime) -> bool {
        let peer = self.known.get_mut(&sender.epoch);
        peer.is_some_and(|peer| is_due(&mut peer.asked_at, ASK_PAUSE, now))
    }

    /// Whether a peer is to be given a proof now; it is taken to be.
    pub(super) fn may_answer(&mut self, sender: Sender, now: MonotonicTime) -> bool {
        is_due(&mut self.peer(sender, now).answered_at, ANSWER_PAUSE, now)
    }

    /// Something that a peer may have sent was not taken in.
    pub(super) fn note_dropped(&mut self, epoch: u64) {
        if let Some(peer) = self.known.get_mut(&epoch) {
            peer.has_outage = true;
        }
    }

    /// What a peer has sent was not taken in, since clocks differ by too much.
    pub(super) fn note_untimely(&mut self, envelope: &Envelope<'_>) {
        // What was heard long ago is on record.
        if let Some(peer) = self.known.get_mut(&envelope.sender.epoch)
            && !peer.window.has(envelope.sequence)
        {
            peer.has_outage = true;
        }
    }

    /// Something was not taken in, whoever has sent it.
    pub(super) fn note_skipped(&mut self, now: MonotonicTime) {
        for peer in self.known.values_mut() {
            peer.has_outage |= peer.standing != Standing::Unknown && peer.may_have_sent(now);
        }
    }

    fn peer(&mut self, sender: Sender, now: MonotonicTime) -> &mut Peer {
        if !self.known.contains_key(&sender.epoch) {
            self.make_room(now);
        }
        let peer = self.known.entry(sender.epoch);
        let peer = peer.or_insert_with(|| Peer::new(now));
        // It has had none before it was given one.
        peer.node = peer.node.max(sender.node);
        peer
    }

    /// A peer has told everybody something, or a client here.
    pub(super) fn note_message(&mut self, sender: Sender, number: Option<u64>) -> Hole {
        let Some(peer) = self.known.get_mut(&sender.epoch) else {
            return Hole::None;
        };
        peer.heard_count += 1;
        number.map_or(Hole::None, |number| peer.note_number(number, 1))
    }

    /// A peer has told how far it is. Those who are here have heard everything for the time `heard_for`.
    pub(super) fn note_beat(
        &mut self,
        sender: Sender,
        beat: Heartbeat,
        heard_for: Duration,
    ) -> Hole {
        let of_itself = self.known.get(&sender.epoch);
        let is_first = of_itself.is_some_and(|peer| !peer.has_beaten);
        let past = self.known.get(&beat.past.epoch);
        let past = past.filter(|past| past.standing != Standing::Unknown);
        let is_known = past.is_some();
        // Whoever it was before has told its last here, and all of that was heard.
        let is_settled = past.is_none_or(|past| past.has_left && !past.has_outage);
        let hole = match is_known && (is_first || !is_settled) {
            true => self.note_past(beat, heard_for),
            false => Hole::None,
        };
        let before = match is_known && is_first {
            true => beat.past.message_count,
            false => 0,
        };
        match self.note_own_beat(sender.epoch, beat, before, heard_for) {
            Hole::None => hole,
            Hole::Some => Hole::Some,
        }
    }

    /// A peer has told how far it was before another process went on as it.
    fn note_past(&mut self, beat: Heartbeat, heard_for: Duration) -> Hole {
        let Past {
            epoch,
            number,
            message_count,
        } = beat.past;
        let last = Heartbeat {
            number,
            message_count,
            uptime_seconds: u64::MAX,
            is_leaving: true,
            ..beat
        };
        self.note_own_beat(epoch, last, 0, heard_for)
    }

    /// The same of what it tells of one of its epochs, before which it had counted so far.
    fn note_own_beat(
        &mut self,
        epoch: u64,
        beat: Heartbeat,
        count_before: u64,
        heard_for: Duration,
    ) -> Hole {
        let Some(peer) = self.known.get_mut(&epoch) else {
            return Hole::None;
        };
        let by_number = peer.note_number(beat.number, 0);
        let heard = peer.message_count().saturating_add(count_before);
        // Whoever was there before may have said something that was not heard here. Whether it was
        // for anybody here cannot be known. Its age is told in whole seconds, and may have been held.
        let most_seconds = beat.uptime_seconds.saturating_add(QUEUE_TIME.as_secs() + 1);
        let age = Duration::from_secs(most_seconds);
        let is_older = !peer.has_beaten && age > heard_for;
        let may_have_missed = (peer.has_outage || is_older) && beat.message_count != heard;
        peer.beat = beat;
        peer.heard_count = 0;
        peer.has_outage = false;
        peer.has_beaten = true;
        peer.has_left = beat.is_leaving;
        match may_have_missed {
            true => Hole::Some,
            false => by_number,
        }
    }

    /// What is to be added to a time of this peer to have it by the clock here, in microseconds.
    pub(super) fn clock_offset(&self, sender: Sender) -> i64 {
        self.known
            .get(&sender.epoch)
            .map_or(0, |peer| peer.clock.get())
    }

    /// What a peer has just sent answers what it was asked at the time `asked_at`.
    pub(super) fn note_answer(&mut self, sender: Sender, asked_at: MonotonicTime) {
        if let Some(peer) = self.known.get_mut(&sender.epoch) {
            let offset = behind(asked_at, peer.sent_last);
            peer.clock.note_least(offset);
        }
    }

    /// This node has been cut off: what was sent meanwhile has not come.
    pub(super) fn note_outage(&mut self, now: MonotonicTime) {
        for peer in self.known.values_mut() {
            peer.has_outage |= peer.may_have_sent(now);
        }
    }

    /// Whether there are peers that have not been heard since an outage, or have gone before they told
    /// how far they were: what they have sent in it is not known, and will not be. They are not counted
    /// again.
    pub(super) fn forget_unheard(&mut self, now: MonotonicTime) -> bool {
        let peers = self.known.values_mut();
        // All of them, not up to the first one.
        peers.fold(false, |any, peer| {
            // A record of somebody is nobody.
            let is_somebody = peer.standing != Standing::Unknown;
            let is_mute =
                !peer.has_beaten && !peer.has_left && now - peer.created_at > PEER_TIMEOUT / 2;
            let is_missing = std::mem::take(&mut peer.has_outage) || is_mute;
            peer.has_left |= is_mute;
            any | (is_somebody && is_missing)
        })
    }

    /// Peers that are there, and have told how far they are.
    pub(super) fn present(&self, now: MonotonicTime) -> impl Iterator<Item = PeerState> {
        self.known.iter().filter_map(move |(epoch, peer)| {
            let silence = now - peer.last_heard?;
            let is_here = silence < PEER_TIMEOUT && !peer.has_left && peer.has_beaten;
            is_here.then_some(PeerState {
                sender: peer.sender(*epoch),
                beat: peer.beat,
                silence,
            })
        })
    }

    /// How far each is that may be there, for [`take_over`](Self::take_over).
    pub(super) fn hand_over(&self, now: MonotonicTime) -> impl Iterator<Item = Vec<u8>> {
        let heard = self.known.iter();
        let heard = heard
            .filter(move |(_, peer)| peer.standing != Standing::Unknown && peer.may_have_sent(now));
        heard.map(|(epoch, peer)| peer.hand_over(*epoch))
    }

    /// The same of this node itself: to another process it is one that has gone, of which it has
    /// all. It has no number, since that goes on.
    pub(super) fn own_record(
        epoch: u64,
        (sequence, number): (u64, u64),
        now: MonotonicTime,
    ) -> Vec<u8> {
        let mut own = Peer::new(MonotonicTime::START);
        own.standing = Standing::Proven { floor: micros(now) };
        own.window.skip(sequence);
        own.number = Some(number);
        own.has_left = true;
        own.hand_over(epoch)
    }

    /// What another process has heard of others; what they have sent since has not come.
    ///
    /// # Errors
    /// A record that is not understood.
    pub(super) fn take_over(records: &[&[u8]], now: MonotonicTime) -> Result<Self, BadRecord> {
        let mut peers = Self::default();
        for record in records.iter().take(MAX_KNOWN) {
            let (epoch, peer) = Peer::take_over(Record::parse(record)?, now)?;
            peers.known.insert(epoch, peer);
        }
        Ok(peers)
    }

    /// How far those were heard who have said something lately.
    pub(super) fn places(&self, now: MonotonicTime) -> impl Iterator<Item = Place> {
        // Longer than below, so that who is held against it is among them.
        self.recent(PEER_TIMEOUT * 2, now)
            .map(|(epoch, peer)| Place {
                epoch,
                highest: peer.window.highest(),
                heard: peer.window.heard(),
                number: peer.number.unwrap_or(0),
            })
    }

    /// The last that those have told everybody who have said something lately, by their epochs.
    pub(super) fn numbers(&self, now: MonotonicTime) -> impl Iterator<Item = (u64, u64)> {
        let recent = self.recent(PEER_TIMEOUT, now);
        recent.filter_map(|(epoch, peer)| Some((epoch, peer.number?)))
    }

    /// Whether it is not known of somebody who is there whether all was heard. Those who are here
    /// have heard everything for the time `heard_for`.
    pub(super) fn has_uncertain(&self, heard_for: Duration, now: MonotonicTime) -> bool {
        // Whoever has been there for longer has beaten by then.
        let is_settled = heard_for > PEER_TIMEOUT;
        let is_certain = |peer: &Peer| {
            let is_proven = matches!(peer.standing, Standing::Proven { .. });
            let is_whole = !peer.has_outage && (peer.has_beaten || is_settled);
            (peer.has_left && !peer.has_outage) || (is_proven && is_whole)
        };
        self.recent(PEER_TIMEOUT * 2, now)
            .any(|(_, peer)| !is_certain(peer))
    }

    fn recent(&self, time: Duration, now: MonotonicTime) -> impl Iterator<Item = (u64, &Peer)> {
        let is_recent = move |peer: &Peer| peer.last_heard.is_some_and(|at| now - at < time);
        let known = self.known.iter().map(|(epoch, peer)| (*epoch, peer));
        known.filter(move |(_, peer)| is_recent(peer))
    }

    /// Whether one of them has, or had, this number.
    pub(super) fn has_node(&self, node: u16) -> bool {
        node != 0 && self.known.values().any(|peer| peer.node == node)
    }

    /// Whether one of them has told that these streams are its own.
    pub(super) fn has_streams(&self, epoch: u64) -> bool {
        let mut peers = self.known.values();
        peers.any(|peer| peer.has_beaten && peer.beat.streams == epoch)
    }

    /// Forgets those whose envelopes would be too old by now, and the quietest if there are too
    /// many.
    fn make_room(&mut self, now: MonotonicTime) {
        if self.known.len() < MAX_KNOWN {
            return;
        }
        self.known
            .retain(|_, peer| now - peer.last_seen() <= MAX_CLOCK_DIFFERENCE * 2);
        if self.known.len() >= MAX_KNOWN {
            let rank = |peer: &Peer| (peer.last_heard.is_some(), peer.last_seen());
            let quietest = self.known.iter().min_by_key(|(_, peer)| rank(peer));
            if let Some(quietest) = quietest.map(|(epoch, _)| *epoch) {
                self.known.remove(&quietest);
            }
        }
    }

    /// Bytes of memory held.
    pub(super) fn held_bytes(&self) -> usize {
        self.known.len() * size_of::<(u64, Peer)>()
    }
}

/// Whether it is time for something that was done before, perhaps; if so it is done now.
fn is_due(last: &mut Option<MonotonicTime>, pause: Duration, now: MonotonicTime) -> bool {
    let is_due = last.is_none_or(|last| now - last >= pause);
    if is_due {
        *last = Some(now);
    }
    is_due
}

/// How far clocks on the wall may differ. Nothing else goes by them.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(2 * 3600);

/// How long an envelope takes at most, in microseconds: what waits longer for Redis is given up by
/// its sender ([`QUEUE_TIME`]), and a second for the way.
const LONGEST_WAY: u64 = QUEUE_TIME.as_micros() as u64 + 1_000_000;

/// Between two times that a peer is asked for a proof, or given one: whoever plays a record of it again
/// and again makes no more of it.
pub(super) const ASK_PAUSE: Duration = Duration::from_millis(500);
const ANSWER_PAUSE: Duration = Duration::from_millis(100);

/// Most senders that are remembered.
const MAX_KNOWN: usize = 8192;

#[cfg(test)]
mod tests {
    use super::super::envelope::Body;
    use super::*;

    /// Longer than anybody has been there.
    const LONG: Duration = Duration::from_secs(1 << 20);

    const NOW: u64 = 1_800_000_000;

    fn sender(epoch: u64) -> Sender {
        Sender { node: 1, epoch }
    }

    fn envelope(epoch: u64, sequence: u64, sent_at: u64) -> Envelope<'static> {
        Envelope {
            sender: sender(epoch),
            sequence,
            sent_at,
            clock: 0,
            body: Body::Heartbeat(Heartbeat::default()),
        }
    }

    fn after(seconds: u64) -> MonotonicTime {
        MonotonicTime::START + Duration::from_secs(seconds)
    }

    /// Judges an envelope of somebody who has proven that he is there.
    fn hear(peers: &mut Peers, envelope: &Envelope<'_>, at: u64) -> Verdict {
        peers.prove(envelope, after(at), after(at));
        peers.judge(envelope, NOW, after(at))
    }

    #[test]
    fn what_has_been_heard_or_is_of_another_time_does_not_count() {
        let mut peers = Peers::default();
        let mut judge = |epoch, sequence, sent_at, at| {
            hear(&mut peers, &envelope(epoch, sequence, sent_at), at)
        };
        for (epoch, sequence, verdict) in [
            (1, 1, Verdict::First),
            (1, 1, Verdict::Repeated),
            (1, 3, Verdict::New),
            (1, 2, Verdict::New),
            (2, 1, Verdict::First),
            (1, 3, Verdict::Repeated),
        ] {
            assert_eq!(
                judge(epoch, sequence, NOW, 0),
                verdict,
                "{epoch} {sequence}"
            );
        }
        // A clock that is an hour off is none that is wrong.
        for (difference, verdict) in [
            (3600, Verdict::First),
            (7200, Verdict::First),
            (7201, Verdict::Untimely),
        ] {
            assert_eq!(judge(10 + difference, 1, NOW + difference, 1), verdict);
            assert_eq!(judge(20 + difference, 2, NOW - difference, 1), verdict);
        }
    }

    /// At this time by the clock of its sender, in seconds.
    fn of_time(sequence: u64, clock_seconds: u64) -> Envelope<'static> {
        Envelope {
            clock: micros(after(clock_seconds)),
            ..envelope(1, sequence, NOW)
        }
    }

    // protocol.md 11.1
    #[test]
    fn nobody_counts_who_has_not_proven_to_this_connection_that_he_is_there() {
        let mut peers = Peers::default();
        let judge = |peers: &mut Peers, sequence| {
            let envelope = of_time(sequence, 1000 + sequence);
            peers.judge(&envelope, NOW, after(sequence))
        };
        assert_eq!(judge(&mut peers, 1), Verdict::Unproven);
        assert_eq!(peers.present(after(1)).count(), 0, "a record is nobody");
        peers.prove(&of_time(2, 1002), after(1), after(2));
        assert_eq!(judge(&mut peers, 1), Verdict::First);
        assert_eq!(judge(&mut peers, 2), Verdict::New);
        peers.note_beat(sender(1), Heartbeat::default(), LONG);
        assert_eq!(judge(&mut peers, 1), Verdict::Repeated);
        peers.forget_proofs();
        assert_eq!(judge(&mut peers, 2), Verdict::Repeated);
        assert_eq!(judge(&mut peers, 3), Verdict::Unproven);
        assert_eq!(peers.present(after(3)).count(), 1);
        // A proof that has come before is none.
        peers.prove(&of_time(2, 1002), after(3), after(3));
        assert_eq!(judge(&mut peers, 3), Verdict::Unproven);
        peers.prove(&of_time(4, 1004), after(3), after(4));
        assert_eq!(judge(&mut peers, 3), Verdict::New);
    }

    // protocol.md 11.1
    #[test]
    fn what_was_sent_before_this_connection_or_long_before_the_newest_does_not_count() {
        let mut peers = Peers::default();
        let judge = |peers: &mut Peers, sequence, clock_seconds| {
            peers.judge(&of_time(sequence, clock_seconds), NOW, after(60))
        };
        // Connected for 3 seconds, so that its clock said 997 then.
        peers.prove(&of_time(20, 1000), after(57), after(60));
        for (sequence, clock_seconds, verdict) in [
            (10, 990, Verdict::Repeated),
            (11, 991, Verdict::First),
            (20, 1000, Verdict::New),
            // It was for somebody else then, on a channel that is heard by now.
            (12, 993, Verdict::Repeated),
            (13, 994, Verdict::New),
            (21, 1100, Verdict::New),
            (14, 1093, Verdict::Repeated),
            (15, 1094, Verdict::New),
        ] {
            let judged = judge(&mut peers, sequence, clock_seconds);
            assert_eq!(judged, verdict, "{sequence} {clock_seconds}");
        }
    }

    #[test]
    fn one_that_is_played_again_and_again_is_asked_and_answered_now_and_then() {
        let mut peers = Peers::default();
        let millis = |millis| MonotonicTime::START + Duration::from_millis(millis);
        peers.judge(&envelope(1, 1, NOW), NOW, millis(0));
        for (at, may_ask, may_answer) in [
            (0, true, true),
            (99, false, false),
            (100, false, true),
            (499, false, true),
            (500, true, false),
        ] {
            assert_eq!(peers.may_ask(sender(1), millis(at)), may_ask, "{at}");
            assert_eq!(peers.may_answer(sender(1), millis(at)), may_answer, "{at}");
        }
        assert!(!peers.may_ask(sender(2), millis(0)), "nobody");
    }

    #[test]
    fn no_number_that_a_peer_tells_does_harm() {
        let mut peers = Peers::default();
        let beat = Heartbeat {
            number: u64::MAX,
            message_count: u64::MAX,
            client_count: u64::MAX,
            uptime_seconds: u64::MAX,
            is_leaving: false,
            asks: u64::MAX,
            streams: 0,
            past: Past {
                epoch: 1,
                number: u64::MAX,
                message_count: u64::MAX,
            },
        };
        for sequence in [u64::MAX - 1, u64::MAX] {
            hear(&mut peers, &envelope(1, sequence, NOW), 0);
            peers.note_message(sender(1), Some(u64::MAX));
            peers.note_beat(sender(1), beat, LONG);
            peers.note_message(sender(1), Some(u64::MAX));
        }
        assert_eq!(peers.hand_over(after(0)).count(), 1);
        assert_eq!(peers.present(after(0)).count(), 1);
    }

    #[test]
    fn an_answer_says_how_far_a_clock_is_behind_at_least() {
        let mut peers = Peers::default();
        // Its clock is 1,000 s ahead. When it was asked, when it sent and was heard, in seconds, and
        // what that shows in milliseconds.
        let ways = [
            (0, 4, 5, -1_001_500),
            (10, 11, 15, -1_000_000),
            (20, 26, 27, -1_000_000),
        ];
        for (sequence, (asked_at, sent_at, heard_at, offset)) in (1..).zip(ways) {
            let envelope = Envelope {
                clock: micros(after(sent_at + 1000)),
                ..envelope(1, sequence, NOW)
            };
            hear(&mut peers, &envelope, heard_at);
            peers.note_answer(sender(1), after(asked_at));
            assert_eq!(peers.clock_offset(sender(1)) / 1000, offset, "{sequence}");
        }
    }

    #[test]
    fn the_fastest_envelope_says_how_far_a_clock_is_behind() {
        let mut peers = Peers::default();
        let mut sequence = 0;
        let mut offset_after = |peers: &mut Peers, clock_seconds, at| {
            sequence += 1;
            let clock = micros(after(clock_seconds));
            let envelope = Envelope {
                clock,
                ..envelope(1, sequence, NOW)
            };
            hear(peers, &envelope, at);
            peers.clock_offset(sender(1)) / 1_000_000
        };
        // On its way for 3, 1 and 2 seconds.
        for (clock, at, offset) in [(1000, 3, -997), (1003, 4, -999), (1004, 6, -999)] {
            assert_eq!(offset_after(&mut peers, clock, at), offset);
        }
        // What it has shown long ago does not count.
        assert_eq!(offset_after(&mut peers, 1068, 70), -999);
        assert_eq!(offset_after(&mut peers, 1138, 140), -998);
        assert_eq!(peers.clock_offset(sender(2)), 0);
    }

    #[test]
    fn senders_are_bounded_and_those_that_could_be_repeated_are_kept_longest() {
        let mut peers = Peers::default();
        for epoch in 0..MAX_KNOWN as u64 {
            hear(&mut peers, &envelope(epoch, 1, NOW), epoch);
        }
        hear(&mut peers, &envelope(u64::MAX, 1, NOW), MAX_KNOWN as u64);
        assert_eq!(peers.known.len(), MAX_KNOWN);
        let verdict = hear(&mut peers, &envelope(1, 1, NOW), MAX_KNOWN as u64);
        assert_eq!(verdict, Verdict::Repeated);
        let later = 5 * MAX_CLOCK_DIFFERENCE.as_secs();
        hear(&mut peers, &envelope(u64::MAX - 1, 1, NOW), later);
        assert_eq!(peers.known.len(), 1);
    }

    #[test]
    fn holes_in_what_everybody_is_told_are_seen() {
        let mut peers = Peers::default();
        hear(&mut peers, &envelope(1, 1, NOW), 0);
        for (number, hole) in [
            (5, Hole::None),
            (6, Hole::None),
            (8, Hole::Some),
            (7, Hole::None),
            (9, Hole::None),
        ] {
            assert_eq!(
                peers.note_message(sender(1), Some(number)),
                hole,
                "{number}"
            );
        }
        let mut beat = Heartbeat {
            number: 9,
            message_count: 100,
            ..Heartbeat::default()
        };
        assert_eq!(peers.note_beat(sender(1), beat, LONG), Hole::None);
        beat.number = 10;
        assert_eq!(peers.note_beat(sender(1), beat, LONG), Hole::Some);
        assert_eq!(peers.note_message(sender(1), Some(11)), Hole::None);
        assert_eq!(peers.note_message(sender(2), Some(11)), Hole::None);
    }

    #[test]
    fn after_an_outage_everything_that_was_sent_meanwhile_counts_as_missed() {
        let mut peers = Peers::default();
        hear(&mut peers, &envelope(1, 1, NOW), 0);
        let mut beat = Heartbeat {
            message_count: 100,
            ..Heartbeat::default()
        };
        assert_eq!(peers.note_beat(sender(1), beat, LONG), Hole::None);
        beat.message_count = 150;
        assert_eq!(
            peers.note_beat(sender(1), beat, LONG),
            Hole::None,
            "for others"
        );
        assert_eq!(peers.note_message(sender(1), None), Hole::None);
        peers.note_outage(after(1));
        beat.message_count = 151;
        assert_eq!(
            peers.note_beat(sender(1), beat, LONG),
            Hole::None,
            "it had come"
        );
        peers.note_outage(after(1));
        beat.message_count = 152;
        assert_eq!(peers.note_beat(sender(1), beat, LONG), Hole::Some);
        beat.message_count = 153;
        assert_eq!(peers.note_beat(sender(1), beat, LONG), Hole::None);
        peers.note_outage(after(1));
        assert!(peers.forget_unheard(after(15)) && !peers.forget_unheard(after(15)));
        peers.note_outage(after(30));
        assert!(!peers.forget_unheard(after(15)), "it had gone long before");
    }

    // protocol.md 11.5
    #[test]
    fn who_goes_before_he_tells_how_far_he_was_may_have_said_something_that_was_missed() {
        for (first_heard, has_beaten, is_missing) in [
            (1, false, true),
            (1, true, false),
            // It has just come, and will tell.
            (14, false, false),
        ] {
            let mut peers = Peers::default();
            hear(&mut peers, &envelope(1, 1, NOW), first_heard);
            if has_beaten {
                peers.note_beat(sender(1), Heartbeat::default(), LONG);
            }
            assert_eq!(peers.forget_unheard(after(15)), is_missing, "{first_heard}");
            assert!(!peers.forget_unheard(after(15)), "once");
        }
        // Nor is a record of somebody anybody.
        let mut peers = Peers::default();
        peers.judge(&envelope(1, 1, NOW), NOW, after(1));
        assert!(!peers.forget_unheard(after(15)));
    }

    // protocol.md 11.5
    #[test]
    fn what_somebody_who_leaves_has_sent_in_an_outage_counts_as_missed_until_it_has_ended() {
        let mut peers = Peers::default();
        hear(&mut peers, &envelope(1, 1, NOW), 0);
        let mut beat = Heartbeat {
            message_count: 100,
            is_leaving: true,
            ..Heartbeat::default()
        };
        peers.note_beat(sender(1), beat, LONG);
        assert!(!peers.has_uncertain(LONG, after(1)));
        peers.note_outage(after(1));
        assert!(peers.has_uncertain(LONG, after(1)));
        beat.message_count = 101;
        assert_eq!(peers.note_beat(sender(1), beat, LONG), Hole::Some);
        peers.note_skipped(after(9));
        assert!(peers.forget_unheard(after(15)) && !peers.forget_unheard(after(15)));
        peers.note_skipped(after(10));
        peers.note_outage(after(10));
        assert!(!peers.forget_unheard(after(15)), "it has ended");
    }

    // protocol.md 11.5
    #[test]
    fn another_process_misses_nothing_of_those_who_had_gone_long_before() {
        let mut peers = Peers::default();
        hear(&mut peers, &envelope(1, 1, NOW), 0);
        hear(&mut peers, &envelope(2, 1, NOW), 29);
        for (seconds, count) in [(29, 2), (30, 1), (59, 0)] {
            assert_eq!(peers.hand_over(after(seconds)).count(), count, "{seconds}");
        }
    }

    // protocol.md 11.5
    #[test]
    fn what_was_sent_while_a_clock_was_wrong_counts_as_missed() {
        let mut peers = Peers::default();
        for (is_heard_before, hole) in [(true, Hole::None), (false, Hole::Some)] {
            hear(&mut peers, &envelope(1, 1, NOW), 0);
            let mut beat = Heartbeat::default();
            peers.note_beat(sender(1), beat, LONG);
            let sequence = if is_heard_before { 1 } else { 2 };
            let untimely = envelope(1, sequence, NOW + 7201);
            assert_eq!(hear(&mut peers, &untimely, 1), Verdict::Untimely);
            peers.note_untimely(&untimely);
            beat.message_count = 1;
            assert_eq!(peers.note_beat(sender(1), beat, LONG), hole);
        }
    }

    // protocol.md 11.6
    #[test]
    fn another_process_knows_what_the_one_before_has_said() {
        let record = Peers::own_record(7, (300, 5), after(9));
        let mut peers = Peers::take_over(&[record.as_slice()], after(0)).unwrap();
        let place = peers.places(after(29)).next().unwrap();
        assert_eq!((place.epoch, place.number), (7, 5));
        assert!(place.has(300) && place.has(299) && !place.has(301));
        let verdict = peers.judge(&envelope(7, 300, NOW), NOW, after(1));
        assert_eq!(verdict, Verdict::Repeated);
        assert!(!peers.has_uncertain(LONG, after(1)), "it has gone");
        assert!(!peers.forget_unheard(after(15)), "nothing of it is missing");
        assert_eq!(peers.present(after(1)).count(), 0);
    }

    // protocol.md 11.5
    #[test]
    fn who_goes_on_as_a_node_tells_the_last_of_who_it_was_before() {
        // Whether all was heard until then, the last number and count of the past, whether something
        // is missing.
        for (is_cut_off, number, message_count, hole) in [
            (false, 5, 10, Hole::None),
            (false, 5, 11, Hole::None),
            (false, 6, 10, Hole::Some),
            (true, 5, 10, Hole::None),
            (true, 5, 11, Hole::Some),
        ] {
            let mut peers = Peers::default();
            hear(&mut peers, &envelope(1, 1, NOW), 0);
            let before = Heartbeat {
                number: 5,
                message_count: 9,
                ..Heartbeat::default()
            };
            peers.note_beat(sender(1), before, LONG);
            peers.note_message(sender(1), None);
            if is_cut_off {
                peers.note_outage(after(1));
            }
            hear(&mut peers, &envelope(2, 1, NOW), 2);
            peers.note_message(sender(2), None);
            let beat = Heartbeat {
                message_count: message_count + 1,
                past: Past {
                    epoch: 1,
                    number,
                    message_count,
                },
                ..Heartbeat::default()
            };
            assert_eq!(peers.note_beat(sender(2), beat, LONG), hole);
            assert_eq!(peers.note_beat(sender(2), beat, LONG), Hole::None, "once");
            assert!(!peers.has_uncertain(LONG, after(2)));
            assert!(!peers.forget_unheard(after(20)), "it has gone as it should");
            let present = peers.present(after(3)).map(|peer| peer.sender.epoch);
            assert_eq!(present.collect::<Vec<_>>(), [2]);
        }
        // Another process knows both by a record, and has missed nothing of either.
        let mut peers = Peers::default();
        for epoch in [1, 2] {
            hear(&mut peers, &envelope(epoch, 1, NOW), 0);
        }
        let left = Heartbeat {
            message_count: 3,
            is_leaving: true,
            ..Heartbeat::default()
        };
        peers.note_beat(sender(1), left, LONG);
        let beat = Heartbeat {
            message_count: 3,
            past: Past {
                epoch: 1,
                number: 0,
                message_count: 3,
            },
            ..Heartbeat::default()
        };
        assert_eq!(peers.note_beat(sender(2), beat, LONG), Hole::None);
        let records: Vec<_> = peers.hand_over(after(1)).collect();
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let mut peers = Peers::take_over(&records, after(1)).unwrap();
        hear(&mut peers, &envelope(2, 2, NOW), 2);
        assert_eq!(peers.note_beat(sender(2), beat, LONG), Hole::None);
        assert!(!peers.forget_unheard(after(16)), "nothing is missing");
        // Of one that was never heard all is missing, unless this one was there before.
        for (connected_seconds, hole) in [(5, Hole::Some), (6, Hole::None)] {
            let mut peers = Peers::default();
            hear(&mut peers, &envelope(2, 1, NOW), 2);
            let beat = Heartbeat {
                message_count: 10,
                past: Past {
                    epoch: 1,
                    number: 5,
                    message_count: 10,
                },
                ..Heartbeat::default()
            };
            let connected = Duration::from_secs(connected_seconds);
            assert_eq!(peers.note_beat(sender(2), beat, connected), hole);
        }
    }

    #[test]
    fn another_process_knows_what_has_come_and_sees_what_has_not() {
        let mut peers = Peers::default();
        hear(&mut peers, &envelope(1, 9, NOW), 0);
        peers.note_message(sender(1), Some(5));
        let records: Vec<_> = peers.hand_over(after(0)).collect();
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        for (message_count, number, hole) in
            [(1, 5, Hole::None), (2, 5, Hole::Some), (1, 6, Hole::Some)]
        {
            let mut peers = Peers::take_over(&records, after(0)).unwrap();
            let verdict = hear(&mut peers, &envelope(1, 9, NOW), 1);
            assert_eq!(verdict, Verdict::Repeated);
            let verdict = hear(&mut peers, &envelope(1, 10, NOW), 1);
            assert_eq!(verdict, Verdict::New);
            let beat = Heartbeat {
                message_count,
                number,
                ..Heartbeat::default()
            };
            assert_eq!(peers.note_beat(sender(1), beat, LONG), hole);
        }
        assert!(Peers::take_over(&[b"x"], after(0)).is_err());
    }

    #[test]
    fn what_was_sent_before_this_node_was_there_counts_as_missed() {
        for (message_count, uptime_seconds, connected_seconds, hole) in [
            (5, 100, 105, Hole::Some),
            (5, 100, 106, Hole::None),
            (0, 100, 5, Hole::None),
        ] {
            let mut peers = Peers::default();
            hear(&mut peers, &envelope(1, 1, NOW), 0);
            let beat = Heartbeat {
                message_count,
                uptime_seconds,
                ..Heartbeat::default()
            };
            let connected = Duration::from_secs(connected_seconds);
            assert_eq!(peers.note_beat(sender(1), beat, connected), hole);
            assert_eq!(peers.note_beat(sender(1), beat, connected), Hole::None);
        }
    }

    #[test]
    fn whoever_is_silent_or_has_left_is_not_there() {
        let mut peers = Peers::default();
        hear(&mut peers, &envelope(1, 1, NOW), 0);
        hear(&mut peers, &envelope(2, 1, NOW), 10);
        let present = |peers: &Peers, at| {
            let mut epochs: Vec<_> = peers.present(after(at)).map(|p| p.sender.epoch).collect();
            epochs.sort_unstable();
            epochs
        };
        assert!(present(&peers, 14).is_empty(), "they have told nothing yet");
        for epoch in [1, 2] {
            peers.note_beat(sender(epoch), Heartbeat::default(), LONG);
        }
        assert_eq!(present(&peers, 14), [1, 2]);
        assert_eq!(present(&peers, 15), [2]);
        let beat = Heartbeat {
            is_leaving: true,
            ..Heartbeat::default()
        };
        peers.note_beat(sender(2), beat, LONG);
        assert!(present(&peers, 15).is_empty());
    }
}
