//! The body of a push: one packet, an array of them, or one per line; and the answer to it.

use std::fmt;
use std::ops::Range;
use std::string::FromUtf8Error;

use serde::Deserializer as _;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::response::Response;
use crate::base::free;
use crate::protocol::packet::Malformed;

/// What the type of the body says about its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `application/json`: an object, or an array of them.
    Json,
    /// `application/x-ndjson`: one object per line.
    Lines,
}

/// Whether a push is answered when it is known what has become of its packets, or at once
/// (`?wait=0`, protocol.md 11.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// When it is known.
    ForReceipts,
    /// At once.
    No,
}

impl Wait {
    /// As the query of the request has it.
    pub(super) fn of(query: &str) -> Self {
        match query.split('&').any(|field| field == "wait=0") {
            true => Self::No,
            false => Self::ForReceipts,
        }
    }
}

/// Why a pushed packet goes to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushError {
    /// It is not JSON.
    Malformed(Malformed),
    /// Its opcode is none that can be pushed.
    Opcode,
    /// It is feedback for nobody: it has no uuid, ident or user.
    NoReceiver,
    /// Nobody has its uuid or ident.
    Nobody,
    /// Its user has no open tab.
    NoTab,
    /// It is a logout of nobody: it has neither user nor session.
    NoLogout,
    /// The node of its receiver was asked, or could not be, and has not said what became of it.
    Unanswered,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(malformed) => malformed.fmt(f),
            Self::Opcode => f.write_str("opcode must be feedback, broadcast or logout"),
            Self::NoReceiver => {
                f.write_str("feedback needs a uuid or an ident, or a user: it has none")
            }
            Self::Nobody => f.write_str("nobody has this uuid or ident"),
            Self::NoTab => f.write_str("this user has no open tab"),
            Self::NoLogout => f.write_str("logout needs a user or a session: it has neither"),
            Self::Unanswered => f.write_str(
                "the receiver may be at another server, which has not answered: it may have it",
            ),
        }
    }
}

impl std::error::Error for PushError {}

/// What became of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stands in the queues of so many clients; those of `full` others had no room.
    Queued {
        /// Queues that took it.
        delivered: usize,
        /// Queues that were full.
        full: usize,
        /// Tabs that get it when they come back (protocol.md 9.6).
        kept: usize,
        /// Who was asked besides.
        reach: Reach,
    },
    /// It was a logout, which has closed so many tabs.
    LoggedOut {
        /// Tabs that were open.
        closed: usize,
        /// Who was asked besides.
        reach: Reach,
    },
    /// Nobody here has it, and who might have it elsewhere has not said so.
    Unanswered(Reach),
    /// It was refused.
    Refused(PushError),
}

/// Which other nodes know of a packet (protocol.md 11.4, 11.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Those that have got it.
    pub asked: usize,
    /// Those of them that have said in time what became of it.
    pub answered: usize,
    /// It may not have gone to all that should get it.
    pub is_partial: bool,
}

impl Reach {
    /// Whether all have answered that could have.
    pub fn is_whole(self) -> bool {
        self.answered == self.asked && !self.is_partial
    }
}

impl fmt::Display for Reach {
    /// The fields that say what is missing; nothing if nothing is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            asked, answered, ..
        } = self;
        if answered != asked {
            write!(f, r#","nodes":{{"asked":{asked},"answered":{answered}}}"#)?;
        }
        match self.is_partial {
            true => f.write_str(r#","partial":true"#),
            false => Ok(()),
        }
    }
}

impl Outcome {
    /// A logout that was for clients of this server alone.
    pub fn logged_out(closed: usize) -> Self {
        let reach = Reach::default();
        Self::LoggedOut { closed, reach }
    }

    fn reach(&self) -> Reach {
        match self {
            Self::Queued { reach, .. }
            | Self::LoggedOut { reach, .. }
            | Self::Unanswered(reach) => *reach,
            Self::Refused(_) => Reach::default(),
        }
    }
}

/// The packets of one body, taken out one after the other, and what became of those before.
#[derive(Debug)]
pub struct Batch {
    body: String,
    packets: std::vec::IntoIter<Range<usize>>,
    shape: Shape,
    /// By packet, as far as they have been taken out; `None`: it is still to come.
    outcomes: Vec<Option<Outcome>>,
    awaited_count: usize,
    wait: Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    One,
    Many,
}

impl Batch {
    /// Splits a body into its packets. `Err` is the response to one that cannot be.
    pub fn new(body: Vec<u8>, form: Form, wait: Wait) -> Result<Self, Response> {
        let body = String::from_utf8(body).map_err(not_utf8)?;
        match split(&body, form) {
            Ok((shape, packets)) => Ok(Self {
                body,
                packets: packets.into_iter(),
                shape,
                outcomes: Vec::new(),
                awaited_count: 0,
                wait,
            }),
            Err(response) => {
                free(body.into_bytes());
                Err(response)
            }
        }
    }

    /// The next packet, as it was sent. [`note`](Self::note) has to follow, now or later.
    pub fn next_packet(&mut self) -> Option<&str> {
        let range = self.packets.next()?;
        self.outcomes.push(None);
        self.awaited_count += 1;
        Some(self.body.get(range).unwrap_or_default())
    }

    /// Bytes of the packet that comes next; 0: there is none.
    pub fn next_len(&self) -> usize {
        self.packets.as_slice().first().map_or(0, Range::len)
    }

    /// Position of the packet that comes next.
    pub fn next_index(&self) -> usize {
        self.outcomes.len()
    }

    /// Whether there is another one.
    pub fn has_more(&self) -> bool {
        self.packets.len() > 0
    }

    /// Notes what became of the packet at a position; the first word counts.
    pub fn note(&mut self, index: usize, outcome: Outcome) {
        if let Some(unknown @ None) = self.outcomes.get_mut(index) {
            *unknown = Some(outcome);
            self.awaited_count -= 1;
        }
    }

    /// Whether it is known of all packets what became of them.
    pub fn is_answered(&self) -> bool {
        !self.has_more() && (self.awaited_count == 0 || self.wait == Wait::No)
    }

    /// Whether anybody wants to know what becomes of the packets.
    pub fn wait(&self) -> Wait {
        self.wait
    }

    /// Tells the log, at debug, that packets went to nobody.
    pub fn log_refusals(&self, slot: u32) {
        let refusals = || {
            self.outcomes.iter().filter_map(|outcome| match outcome {
                Some(Outcome::Refused(error)) => Some(error),
                Some(
                    Outcome::Queued { .. } | Outcome::LoggedOut { .. } | Outcome::Unanswered(_),
                )
                | None => None,
            })
        };
        if log::log_enabled!(log::Level::Debug)
            && let Some(error) = refusals().next_back()
        {
            let count = refusals().count();
            log::debug!("push on #{slot}: {count} packets went to nobody, the last one: {error}");
        }
    }

    /// The answer, once all packets have been seen to.
    pub fn response(&self) -> Response {
        let mut outcomes = self.outcomes.iter().flatten();
        if let (Shape::One, Some(&outcome)) = (self.shape, outcomes.clone().next()) {
            return Response::json(status(outcome), format!("{}\n", result(outcome)));
        }
        if self.wait == Wait::No {
            let refused = outcomes.filter(|outcome| matches!(outcome, Outcome::Refused(_)));
            let accepted = self.outcomes.len() - refused.count();
            return Response::json(202, format!("{{\"accepted\":{accepted}}}\n"));
        }
        let mut body = totals(outcomes.clone());
        body.push_str(",\"results\":[");
        if let Some(&first) = outcomes.next() {
            body.push_str(&result(first));
        }
        outcomes.for_each(|&outcome| {
            body.push(',');
            body.push_str(&result(outcome));
        });
        body.push_str("]}\n");
        Response::json(200, body)
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        let ranges = self.packets.len() * size_of::<Range<usize>>();
        // Outcomes grow to as many as there are packets.
        let outcomes = self.outcomes.len() + self.packets.len();
        self.body.capacity() + outcomes * size_of::<Option<Outcome>>() + ranges
    }
}

/// The beginning of the answer to several: `{"delivered":n`, `"queued":n` if any waits for tabs that
/// are away, and `"closed":n` if any was a logout.
fn totals<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> String {
    let (mut delivered_sum, mut kept_sum, mut closed_sum, mut is_partial) = (0, 0, None, false);
    for outcome in outcomes {
        match outcome {
            Outcome::Queued {
                delivered, kept, ..
            } => {
                delivered_sum += delivered;
                kept_sum += kept;
            }
            Outcome::LoggedOut { closed, .. } => *closed_sum.get_or_insert(0) += closed,
            Outcome::Refused(_) | Outcome::Unanswered(_) => {}
        }
        is_partial |= outcome.reach().is_partial;
    }
    let mut totals = format!("{{\"delivered\":{delivered_sum}");
    if kept_sum > 0 {
        totals.push_str(&format!(",\"queued\":{kept_sum}"));
    }
    if let Some(closed) = closed_sum {
        totals.push_str(&format!(",\"closed\":{closed}"));
    }
    if is_partial {
        totals.push_str(r#","partial":true"#);
    }
    totals
}

/// Status of the answer to a single packet.
fn status(outcome: Outcome) -> u16 {
    match outcome {
        Outcome::Queued {
            delivered: 0, kept, ..
        } if kept > 0 => 202,
        Outcome::Queued {
            delivered: 0, full, ..
        } if full > 0 => 503,
        Outcome::Queued { .. } | Outcome::LoggedOut { .. } => 200,
        Outcome::Unanswered(_) | Outcome::Refused(PushError::Unanswered) => 504,
        Outcome::Refused(
            PushError::Nobody | PushError::NoReceiver | PushError::NoTab | PushError::NoLogout,
        ) => 404,
        Outcome::Refused(PushError::Malformed(_) | PushError::Opcode) => 400,
    }
}

/// `{"delivered":n}`, with `"queued":n` if it waits for tabs that are away, or with an `error` if
/// there was one; for a logout `{"closed":n}`.
fn result(outcome: Outcome) -> String {
    let reach = outcome.reach();
    let (delivered, error) = match outcome {
        Outcome::Queued {
            delivered, kept, ..
        } if kept > 0 => {
            return format!("{{\"delivered\":{delivered},\"queued\":{kept}{reach}}}");
        }
        Outcome::Queued {
            delivered: 0, full, ..
        } if full > 0 => (0, Some("the receiver's queue is full".to_owned())),
        Outcome::Queued { delivered, .. } => (delivered, None),
        Outcome::LoggedOut { closed, .. } => return format!("{{\"closed\":{closed}{reach}}}"),
        Outcome::Unanswered(_) => (0, Some(PushError::Unanswered.to_string())),
        Outcome::Refused(error) => (0, Some(error.to_string())),
    };
    match error {
        None => format!("{{\"delivered\":{delivered}{reach}}}"),
        Some(error) => {
            let error = serde_json::Value::from(error);
            format!("{{\"delivered\":{delivered}{reach},\"error\":{error}}}")
        }
    }
}

/// The response to a body that is no UTF-8.
fn not_utf8(error: FromUtf8Error) -> Response {
    let response = match error.as_bytes() {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Response::error(400, UTF_16),
        _ => {
            let position = error.utf8_error().valid_up_to();
            Response::error(400, &format!("not UTF-8 at byte {position}"))
        }
    };
    free(error.into_bytes());
    response
}

/// Where the packets of a body lie.
fn split(body: &str, form: Form) -> Result<(Shape, Vec<Range<usize>>), Response> {
    if body.starts_with('\u{feff}') {
        return Err(Response::error(400, BYTE_ORDER_MARK));
    }
    if form == Form::Json && body.trim_ascii().is_empty() {
        return Err(Response::error(400, EMPTY));
    }
    let (shape, packets) = match form {
        Form::Lines => (Shape::Many, lines(body)),
        Form::Json if body.trim_start().starts_with('[') => {
            (Shape::Many, elements(body, "packets")?)
        }
        Form::Json => (Shape::One, std::iter::once(0..body.len()).collect()),
    };
    match packets.len() > MAX_PACKETS {
        true => Err(too_many("packets")),
        false => Ok((shape, packets)),
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        free(std::mem::take(&mut self.body).into_bytes());
    }
}

/// Lines that are not blank.
fn lines(body: &str) -> Vec<Range<usize>> {
    body.split('\n')
        .filter(|line| !line.trim().is_empty())
        .map(|line| range_in(body, line))
        .take(MAX_PACKETS + 1)
        .collect()
}

/// The elements of an array, which `what` is the word for.
pub(super) fn elements(body: &str, what: &str) -> Result<Vec<Range<usize>>, Response> {
    let mut json = serde_json::Deserializer::from_str(body);
    let ranges = json.deserialize_seq(Elements(body));
    let ranges = ranges.and_then(|ranges| json.end().map(|()| ranges));
    ranges.map_err(|error| {
        if error.is_data() {
            too_many(what)
        } else {
            Response::error(400, &format!("not JSON: {error}"))
        }
    })
}

struct Elements<'a>(&'a str);

impl<'de> Visitor<'de> for Elements<'de> {
    type Value = Vec<Range<usize>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut ranges = Vec::new();
        while let Some(element) = elements.next_element::<&RawValue>()? {
            if ranges.len() == MAX_PACKETS {
                return Err(A::Error::custom("too many packets"));
            }
            ranges.push(range_in(self.0, element.get()));
        }
        Ok(ranges)
    }
}

/// Where `part` lies in `whole`, of which it is a slice.
fn range_in(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    start..start + part.len()
}

fn too_many(what: &str) -> Response {
    Response::error(413, &format!("more than {MAX_PACKETS} {what} in one body"))
}

/// Most packets in one body: what is kept for each is bounded by it.
const MAX_PACKETS: usize = 10_000;

const EMPTY: &str = "the body is empty: send a packet, such as {\"opcode\":\"broadcast\"}";

const BYTE_ORDER_MARK: &str = "the body begins with a byte order mark (EF BB BF): save the file, or send the text, without it";

const UTF_16: &str = "the body is UTF-16: send UTF-8";

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(body: &str, form: Form) -> Result<Vec<String>, u16> {
        let batch = Batch::new(body.as_bytes().to_vec(), form, Wait::ForReceipts);
        let mut batch = batch.map_err(|response| response.status())?;
        let mut packets = Vec::new();
        while let Some(packet) = batch.next_packet() {
            packets.push(packet.to_owned());
        }
        Ok(packets)
    }

    #[test]
    fn bodies_fall_into_packets() {
        let owned = |texts: &[&str]| Ok(texts.iter().map(|text| (*text).to_owned()).collect());
        for (body, form, expected) in [
            ("{\"a\": 1}\n", Form::Json, owned(&["{\"a\": 1}\n"])),
            ("nonsense", Form::Json, owned(&["nonsense"])),
            (
                " [ {\"a\":1} ,2, \"x\" ]",
                Form::Json,
                owned(&["{\"a\":1}", "2", "\"x\""]),
            ),
            ("[]", Form::Json, owned(&[])),
            ("[1", Form::Json, Err(400)),
            ("[1] 2", Form::Json, Err(400)),
            (
                "{}\r\n\n {} \n[1]",
                Form::Lines,
                owned(&["{}\r", " {} ", "[1]"]),
            ),
            ("", Form::Lines, owned(&[])),
        ] {
            assert_eq!(packets(body, form), expected, "{body:?}");
        }
        assert_eq!(packets("\u{fffd}", Form::Json).map(|p| p.len()), Ok(1));
        let invalid = Batch::new(vec![b'{', 0xFF], Form::Json, Wait::ForReceipts);
        assert_eq!(
            invalid.map_err(|response| response.status()).err(),
            Some(400)
        );
    }

    #[test]
    fn the_number_of_packets_is_bounded() {
        for (count, is_fine) in [(MAX_PACKETS, true), (MAX_PACKETS + 1, false)] {
            let array = format!("[{}]", vec!["1"; count].join(","));
            assert_eq!(packets(&array, Form::Json).is_ok(), is_fine);
            assert_eq!(packets(&"1\n".repeat(count), Form::Lines).is_ok(), is_fine);
        }
        assert_eq!(
            packets(&"1\n".repeat(MAX_PACKETS + 1), Form::Lines),
            Err(413)
        );
    }

    fn answer(body: &str, form: Form, outcomes: &[Outcome]) -> (u16, String) {
        let mut batch = Batch::new(body.as_bytes().to_vec(), form, Wait::ForReceipts).unwrap();
        for outcome in outcomes {
            let index = batch.next_index();
            assert!(batch.next_packet().is_some() && !batch.is_answered());
            batch.note(index, *outcome);
        }
        assert!(batch.next_packet().is_none() && batch.is_answered());
        let mut out = Vec::new();
        let response = batch.response();
        response.write(super::super::response::BodyPart::Sent, None, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        (response.status(), body.trim_end().to_owned())
    }

    #[test]
    fn the_answer_tells_what_became_of_each_packet() {
        let reach = Reach::default();
        let queued = |delivered, full| Outcome::Queued {
            delivered,
            full,
            kept: 0,
            reach,
        };
        let kept = |delivered, full, kept| Outcome::Queued {
            delivered,
            full,
            kept,
            reach,
        };
        let nobody = Outcome::Refused(PushError::Nobody);
        for (outcome, status, body) in [
            (queued(3, 1), 200, r#"{"delivered":3}"#),
            (queued(0, 0), 200, r#"{"delivered":0}"#),
            (
                queued(0, 1),
                503,
                r#"{"delivered":0,"error":"the receiver's queue is full"}"#,
            ),
            (kept(0, 0, 2), 202, r#"{"delivered":0,"queued":2}"#),
            (kept(0, 1, 1), 202, r#"{"delivered":0,"queued":1}"#),
            (kept(1, 0, 1), 200, r#"{"delivered":1,"queued":1}"#),
            (
                nobody,
                404,
                r#"{"delivered":0,"error":"nobody has this uuid or ident"}"#,
            ),
        ] {
            let answered = answer("{}", Form::Json, &[outcome]);
            assert_eq!(answered, (status, body.to_owned()));
        }
        assert_eq!(
            answer("{}\n{}", Form::Lines, &[queued(2, 0), nobody]).1,
            r#"{"delivered":2,"results":[{"delivered":2},{"delivered":0,"error":"nobody has this uuid or ident"}]}"#
        );
        assert_eq!(
            answer("{}\n{}", Form::Lines, &[queued(2, 0), kept(0, 0, 1)]).1,
            r#"{"delivered":2,"queued":1,"results":[{"delivered":2},{"delivered":0,"queued":1}]}"#
        );
        assert_eq!(
            answer("[]", Form::Json, &[]).1,
            r#"{"delivered":0,"results":[]}"#
        );
    }
}
