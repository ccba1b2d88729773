//! Hosts by their names.

use std::time::Duration;

use websock::upstream::{CallError, Settings};

use crate::driver::Driver;
use crate::server::{answer, await_end, read_head, start, write};

#[test]
fn localhost_is_found() {
    let address = start(|_, mut stream| {
        read_head(&mut stream);
        write(&mut stream, answer("here"));
        await_end(&mut stream);
    });
    let mut driver = Driver::single(&format!("http://localhost:{}/", address.port()));
    assert_eq!(driver.get("/"), Ok((200, "here".to_owned())));
}

/// A resolver that reaches nobody takes longer than the machine waits, with the same result.
#[test]
fn a_name_that_nobody_knows_is_reported() {
    // RFC 6761 §6.4: there is never such a name.
    let settings = Settings {
        connect_timeout: Duration::from_millis(300),
        ..Settings::default()
    };
    let mut driver = Driver::new("http://nobody.invalid/", settings);
    let error = driver.get_in_vain(Duration::from_secs(1));
    assert_eq!(error, CallError::Unresolved);
    assert_eq!(driver.upstream().counts().connected, 0);
}
