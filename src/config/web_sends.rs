//! The value of `webSends` → what pages may send (protocol.md 8.11).

use super::value::{Expected, list};
use crate::app::{Sendable, Sends, WebSends};

/// Reads one list for all, such as `echo,feedback`, or lists behind `user:` and `anonymous:`; who
/// is not named may send nothing then.
pub(super) fn web_sends(text: &str) -> Result<WebSends, Expected> {
    if !text.contains(':') {
        let all = sends(text)?;
        return Ok(WebSends {
            user: all,
            anonymous: all,
        });
    }
    let (mut user, mut anonymous) = (None, None);
    for (who, what) in groups(text) {
        let place = match who.to_ascii_lowercase().as_str() {
            "user" => &mut user,
            "anonymous" => &mut anonymous,
            _ => return Err(format!("{who} is nobody; {GRAMMAR}")),
        };
        if place.replace(sends(&what)?).is_some() {
            return Err(format!("{who}: is there twice"));
        }
    }
    Ok(WebSends {
        user: user.unwrap_or(Sends::NONE),
        anonymous: anonymous.unwrap_or(Sends::NONE),
    })
}

/// Each `WHO:` with the list behind it. Blanks may stand anywhere: the word in front of a colon
/// begins a group.
fn groups(text: &str) -> Vec<(String, String)> {
    let mut groups: Vec<(String, String)> = Vec::new();
    let spaced = text.replace(':', ": ").replace(',', " , ");
    let joined = spaced.replace(" :", ":");
    for word in joined.split_whitespace() {
        match (word.strip_suffix(':'), groups.last_mut()) {
            (Some(who), _) => groups.push((who.to_owned(), String::new())),
            (None, Some((_, list))) => {
                list.push_str(word);
                list.push(' ');
            }
            (None, None) => groups.push((word.to_owned(), String::new())),
        }
    }
    groups
}

fn sends(text: &str) -> Result<Sends, Expected> {
    list(text).try_fold(Sends::NONE, |all, word| {
        match word.to_ascii_lowercase().as_str() {
            "echo" => Ok(all.with(Sendable::Echo)),
            "broadcast" => Ok(all.with(Sendable::Broadcast)),
            // By default, which is php, pages cannot send to users (protocol.md 8.9).
            "feedback" => Ok(all.with(Sendable::Feedback).with(Sendable::FeedbackToUser)),
            "php" => Ok(all.union(Sends::OF_THE_PHP_SERVER)),
            _ => Err(format!("{word} is unknown; {GRAMMAR}")),
        }
    })
}

const GRAMMAR: &str = "echo, broadcast, feedback or none of them is wanted, or php, or user: and \
    anonymous: with such a list behind each, such as user:echo,feedback anonymous:echo";

#[cfg(test)]
mod tests {
    use super::*;

    /// First letters of what users and anonymous pages may send.
    fn shown(text: &str) -> Option<String> {
        let letters = |sends: Sends| -> String {
            [
                (Sendable::Echo, 'e'),
                (Sendable::Broadcast, 'b'),
                (Sendable::Feedback, 'f'),
                (Sendable::FeedbackToUser, 'u'),
            ]
            .into_iter()
            .filter_map(|(what, letter)| sends.contains(what).then_some(letter))
            .collect()
        };
        let read = web_sends(text).ok()?;
        Some(format!(
            "{}|{}",
            letters(read.user),
            letters(read.anonymous)
        ))
    }

    #[test]
    fn one_list_is_for_all_and_two_are_by_who_it_is() {
        let table = [
            ("echo,broadcast,feedback", Some("ebfu|ebfu")),
            ("Echo , FEEDBACK", Some("efu|efu")),
            ("echo", Some("e|e")),
            ("echo,echo", Some("e|e")),
            ("", Some("|")),
            (" , ", Some("|")),
            ("user:echo,feedback anonymous:echo", Some("efu|e")),
            ("anonymous: echo  User : echo , feedback", Some("efu|e")),
            ("user:echo,feedback, anonymous:echo", Some("efu|e")),
            ("user:broadcast", Some("b|")),
            ("php", Some("ebf|ebf")),
            ("user:php,feedback anonymous:php", Some("ebfu|ebf")),
            ("user: anonymous:", Some("|")),
            ("anonymous:", Some("|")),
            ("quit", None),
            ("echo broadcast", None),
            ("user:echo broadcast", None),
            ("echo user:echo", None),
            ("guest:echo", None),
            (":echo", None),
            (":", None),
            ("user:echo user:feedback", None),
            ("user:echo:feedback", None),
            ("all", None),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text).as_deref(), expected, "{text}");
        }
    }
}
