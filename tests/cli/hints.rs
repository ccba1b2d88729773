//! What newcomers type is answered by what they mean.

use crate::Directory;

#[test]
fn a_wrong_command_line_is_told_with_the_right_one() {
    let directory = Directory::new();
    for (line, expected) in [
        ("serve", "without a word the server starts"),
        ("9001", "-adress ws://localhost:9001"),
        ("--port 9001", "-adress ws://localhost:9001"),
        ("--port=9001", "-adress ws://localhost:9001"),
        ("ws://localhost:9001", "-adress ws://localhost:9001"),
        ("my.ini", "-i my.ini"),
        ("--config my.ini", "-i my.ini"),
        ("--chek", "--check"),
    ] {
        let arguments: Vec<_> = line.split(' ').collect();
        let outcome = directory.run(&arguments);
        outcome.expect_exit(2).expect_stderr(expected);
    }
}

#[test]
fn a_wrong_value_is_told_with_the_right_one() {
    for (ini, expected) in [
        (
            "adress=ws://localhost:9001/web",
            "; ws://localhost:9001 is wanted",
        ),
        ("adress=9001", "; ws://localhost:9001 is wanted"),
        ("adress=http://localhost:9001", "ws is wanted"),
        ("port=9001", "is adress meant?"),
        ("allowedOrigins=*", "leave it empty to let all pages in"),
        ("allowedOrigins=https://*.a.org", "name each origin"),
        ("allowedOrigins=wss://a.org", "; https://a.org is wanted"),
        ("allowedOrigins=ws://a.org:80/x", "; http://a.org is wanted"),
        ("allowedOrigins=https://a.org/", "; https://a.org is wanted"),
    ] {
        let outcome = Directory::with_ini(ini).run(&["--check"]);
        outcome.expect_exit(1).expect_stderr(expected);
    }
    let fine = "address=localhost:0\nallowedOrigins=file://,null,https://A.org:443";
    let outcome = Directory::with_ini(fine).run(&["--check", "-v"]);
    outcome.expect_exit(0).expect_no_finding();
}
