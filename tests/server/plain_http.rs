//! Plain HTTP for those who are no scripts: load balancers, pages of other origins, and people who
//! have nearly hit the path.

use crate::harness::http::Response;
use crate::harness::{Server, connect};

/// Sends a request head with these further lines, and reads the whole answer.
#[track_caller]
fn ask(server: &Server, line: &str, headers: &str) -> Response {
    let mut conn = connect(server);
    conn.send_bytes(format!("{line}\r\n{headers}\r\n").as_bytes());
    if line.starts_with("HEAD ") {
        conn.shut_down_write();
        let answer = conn.read_to_end();
        assert!(answer.ends_with(b"\r\n\r\n"), "a body for HEAD");
        return Response::parse(&answer);
    }
    conn.read_response()
}

/// A push with these further header lines.
#[track_caller]
fn push(server: &Server, target: &str, headers: &str, body: &[u8]) -> Response {
    let mut conn = connect(server);
    let head = format!(
        "POST {target} HTTP/1.1\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    conn.send_bytes(&[head.as_bytes(), body].concat());
    conn.read_response()
}

const JSON: &str = "Host: localhost\r\nContent-Type: application/json\r\n";
const BROADCAST: &[u8] = br#"{"opcode":"broadcast"}"#;

// promise: /health answers load balancers
#[test]
fn health_is_200_for_who_may_ask() {
    let server = Server::start("");
    for (line, headers) in [
        ("GET /health HTTP/1.1", "Host: localhost\r\n"),
        ("GET /health?x=1 HTTP/1.1", "Host: 127.0.0.1:80\r\n"),
        // Whatever name a load balancer uses: nothing is told that is worth a check.
        ("GET /health HTTP/1.1", "Host: node-7.internal\r\n"),
        ("HEAD /health HTTP/1.1", "Host: localhost\r\n"),
        ("GET /health HTTP/1.0", ""),
        // `option httpchk HEAD /health` of HAProxy.
        ("HEAD /health HTTP/1.0", ""),
        ("HEAD /health HTTP/1.0", "Connection: close\r\n"),
    ] {
        let response = ask(&server, line, headers);
        assert_eq!(response.status(), 200, "{line}: {response:?}");
        assert_eq!(response.header("Content-Length"), Some("3"), "{line}");
        let body = if line.starts_with("HEAD") { "" } else { "ok\n" };
        assert_eq!(response.body, body, "{line}");
        assert_eq!(response.header("Access-Control-Allow-Origin"), None);
    }
    let token = Server::start("pushToken=0123456789abcdef-token\nmaxClients=1");
    let _full = token.web();
    assert_eq!(ask(&token, "GET /health HTTP/1.0", "").status(), 200);
}

// promise: /health answers load balancers
#[test]
fn health_is_403_for_others_and_405_for_other_methods() {
    let server = Server::start("");
    let elsewhere = Server::start("allowedIP=192.0.2.1");
    let trusting = Server::start("trustedProxies=127.0.0.1\nallowedIP=192.0.2.1");
    let forwarded = "Host: localhost\r\nX-Forwarded-For: 198.51.100.1\r\n";
    let (own, allowed) = ("", "X-Forwarded-For: 192.0.2.1\r\n");
    for (name, server, line, headers, status) in [
        ("forwarded", &server, "GET /health HTTP/1.1", forwarded, 403),
        (
            "forwarded",
            &server,
            "HEAD /health HTTP/1.1",
            forwarded,
            403,
        ),
        (
            "loopback",
            &server,
            "GET /health HTTP/1.0",
            "Via: a\r\n",
            403,
        ),
        ("allowedIP", &elsewhere, "GET /health HTTP/1.0", own, 403),
        (
            "a proxy's own",
            &trusting,
            "HEAD /health HTTP/1.0",
            own,
            200,
        ),
        ("allowed", &trusting, "GET /health HTTP/1.0", allowed, 200),
        ("foreign", &trusting, "GET /health HTTP/1.1", forwarded, 403),
        ("method", &server, "PUT /health HTTP/1.0", "", 405),
        ("method", &server, "DELETE /health HTTP/1.0", "", 405),
    ] {
        let response = ask(server, line, headers);
        assert_eq!(response.status(), status, "{name}: {line} {response:?}");
        if status == 405 {
            assert_eq!(response.header("Allow"), Some("GET, HEAD, OPTIONS"));
        }
    }
}

// promise: ownNames are names under which push is reached
#[test]
fn a_push_to_one_of_own_names_is_taken() {
    let server = Server::start("ownNames=websock,push.example.org");
    for (host, status) in [
        ("websock", 200),
        ("websock:8096", 200),
        ("WebSock", 200),
        ("push.example.org:1", 200),
        ("localhost", 200),
        ("127.0.0.1:80", 200),
        ("web", 403),
        ("websock.evil.example", 403),
        ("example.org", 403),
        ("xpush.example.org", 403),
        ("websock:x", 400),
        ("websock@evil.example", 400),
    ] {
        let headers = format!("Host: {host}\r\nContent-Type: application/json\r\n");
        let response = push(&server, "/push", &headers, BROADCAST);
        assert_eq!(response.status(), status, "{host}: {response:?}");
        if status == 403 {
            assert!(response.body.contains("ownNames"), "{response:?}");
        }
    }
}

// promise: pages of every origin may load the client, and read nothing else
#[test]
fn the_client_script_is_for_all_origins_and_nothing_else_is() {
    let server = Server::start("demo=true");
    let origin = "Host: localhost\r\nOrigin: https://page.example\r\n";
    for headers in [origin, "Host: localhost\r\n"] {
        for line in ["GET /websock.js HTTP/1.1", "HEAD /websock.js HTTP/1.1"] {
            let response = ask(&server, line, headers);
            let shared = response.header("Access-Control-Allow-Origin");
            assert_eq!(shared, Some("*"), "{line}");
            assert_eq!(response.header("Vary"), None);
        }
    }
    for line in [
        "GET / HTTP/1.1",
        "GET /demo.css HTTP/1.1",
        "GET /health HTTP/1.1",
        "GET /push HTTP/1.1",
        "GET /nope HTTP/1.1",
        "GET /websock.js/ HTTP/1.1",
        "OPTIONS /push HTTP/1.1",
    ] {
        let response = ask(&server, line, origin);
        let shared = response.header("Access-Control-Allow-Origin");
        assert_eq!(shared, None, "{line}");
    }
}

// promise: pages of allowedOrigins may push and read the answers (CORS)
#[test]
fn a_preflight_is_granted_to_allowed_origins_alone() {
    let server = Server::start("allowedOrigins=https://shop.example,http://shop.example:8080");
    let asking = "Access-Control-Request-Method: POST\r\n\
                  Access-Control-Request-Headers: authorization,content-type\r\n";
    for (origin, is_allowed) in [
        ("https://shop.example", true),
        ("http://shop.example:8080", true),
        ("HTTPS://SHOP.example", true),
        ("http://shop.example", false),
        ("https://shop.example.evil", false),
        ("https://evil.example", false),
        ("null", false),
        ("*", false),
    ] {
        let headers = format!("Host: push.example\r\nOrigin: {origin}\r\n{asking}");
        let response = ask(&server, "OPTIONS /push HTTP/1.1", &headers);
        let shared = response.header("Access-Control-Allow-Origin");
        if is_allowed {
            assert_eq!(response.status(), 204, "{origin}");
            assert_eq!(shared, Some(origin));
            assert_eq!(response.header("Vary"), Some("Origin"));
            let methods = response.header("Access-Control-Allow-Methods");
            assert_eq!(methods, Some("POST"));
            let headers = response.header("Access-Control-Allow-Headers");
            let headers = headers.unwrap_or_default().to_ascii_lowercase();
            assert!(headers.contains("content-type") && headers.contains("authorization"));
        } else {
            assert_eq!(response.status(), 403, "{origin}");
            assert_eq!(shared, None, "{origin}");
            server.wait_for_line("the refused origin", |line| {
                line.contains("refused") && line.contains(origin) && line.contains("127.0.0.1")
            });
        }
        // Nobody may send cookies, and so nobody is told so.
        let credentials = response.header("Access-Control-Allow-Credentials");
        assert_eq!(credentials, None);
    }
}

// promise: pages of allowedOrigins may push and read the answers (CORS)
#[test]
fn a_page_of_an_allowed_origin_can_read_every_answer() {
    let server =
        Server::start("allowedOrigins=https://shop.example\npushToken=0123456789abcdef-token");
    let origin = "Origin: https://shop.example\r\n";
    let token = "Authorization: Bearer 0123456789abcdef-token\r\n";
    let json = "Content-Type: application/json\r\n";
    for (name, target, headers, body, status) in [
        ("reached", "/push", format!("{token}{json}"), BROADCAST, 200),
        ("no token", "/push", json.to_owned(), BROADCAST, 401),
        ("nobody", "/push", format!("{token}{json}"), NOBODY, 404),
        ("JSON", "/push", format!("{token}{json}"), b"{", 400),
        ("type", "/push", token.to_owned(), BROADCAST, 415),
        ("path", "/push/", format!("{token}{json}"), BROADCAST, 404),
    ] {
        let headers = format!("Host: push.example\r\n{origin}{headers}");
        let response = push(&server, target, &headers, body);
        assert_eq!(response.status(), status, "{name}: {response:?}");
        let shared = response.header("Access-Control-Allow-Origin");
        assert_eq!(shared, Some("https://shop.example"), "{name}");
        assert_eq!(response.header("Vary"), Some("Origin"), "{name}");
    }
}

const NOBODY: &[u8] = br#"{"opcode":"feedback","ident":"nobody"}"#;

// promise: what newcomers send gets a message of its own
#[test]
fn a_body_that_is_nearly_right_is_told_what_is_wrong() {
    let server = Server::start("");
    for (name, body, status, text) in [
        ("empty", &b""[..], 400, "empty"),
        ("blank", b" \r\n", 400, "empty"),
        (
            "mark",
            b"\xef\xbb\xbf{\"opcode\":\"broadcast\"}",
            400,
            "byte order mark",
        ),
        ("mark and array", b"\xef\xbb\xbf[]", 400, "byte order mark"),
        ("UTF-16", b"\xff\xfe{\0}\0", 400, "UTF-16"),
        ("UTF-16 the other way", b"\xfe\xff\0{\0}", 400, "UTF-16"),
        (
            "no receiver",
            br#"{"opcode":"feedback","n":1}"#,
            404,
            "uuid or an ident",
        ),
        (
            "empty receiver",
            br#"{"opcode":"feedback","uuid":"","ident":""}"#,
            404,
            "uuid or an ident",
        ),
        (
            "null",
            br#"{"opcode":"feedback","uuid":null}"#,
            404,
            "uuid or an ident",
        ),
    ] {
        let response = push(&server, "/push", JSON, body);
        assert_eq!(response.status(), status, "{name}: {response:?}");
        assert!(response.body.contains(text), "{name}: {response:?}");
    }
    let lines = "Host: localhost\r\nContent-Type: application/x-ndjson\r\n";
    let marked = b"\xef\xbb\xbf{\"opcode\":\"broadcast\"}\n";
    let response = push(&server, "/push", lines, marked);
    assert_eq!(response.status(), 400, "{response:?}");
    assert!(response.body.contains("byte order mark"), "{response:?}");
}

// promise: what newcomers send gets a message of its own
#[test]
fn a_path_behind_push_is_told_from_a_websockets() {
    let server = Server::start("");
    let response = push(&server, "/push/", JSON, BROADCAST);
    assert_eq!(response.status(), 404);
    assert!(response.body.contains("/push"), "{response:?}");
    for line in ["GET /push/ HTTP/1.1", "OPTIONS /push/ HTTP/1.1"] {
        let response = ask(&server, line, "Host: localhost\r\n");
        assert_eq!(response.status(), 404, "{line}");
        assert!(response.body.contains("/push"), "{response:?}");
    }
}

// promise: all of JSON's media types are JSON (RFC 6839 §3.1)
#[test]
fn media_types_that_end_in_json_are_json() {
    let server = Server::start("");
    for (content_type, status) in [
        ("application/vnd.api+json", 200),
        ("Application/LD+JSON; charset=utf-8", 200),
        ("application/problem+json;a=\"b;c\"", 200),
        ("application/cloudevents+json", 200),
        ("application/+json", 415),
        ("application/json+xml", 415),
        ("application/vnd.apijson", 415),
        ("text/vnd.api+json", 415),
        ("text/plain; x=application/json", 415),
        ("application/json, text/plain", 415),
    ] {
        let headers = format!("Host: localhost\r\nContent-Type: {content_type}\r\n");
        let response = push(&server, "/push", &headers, BROADCAST);
        assert_eq!(response.status(), status, "{content_type}: {response:?}");
    }
}

// promise: HTTP/1.0 goes on where it asks for that (ab -k, PHP's file_get_contents)
#[test]
fn http_1_0_with_keep_alive_goes_on_for_whatever_is_asked() {
    let server = Server::start("");
    let mut conn = connect(&server);
    for (path, status) in [
        ("/websock.js", 200),
        ("/health", 200),
        ("/push", 405),
        ("/push/", 404),
        ("/health", 200),
    ] {
        let request = format!("GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        conn.send_bytes(request.as_bytes());
        let response = conn.read_response();
        assert_eq!(response.status(), status, "{path}");
        let connection = response.header("Connection").unwrap_or_default();
        assert!(connection.eq_ignore_ascii_case("keep-alive"), "{path}");
    }
    conn.send_bytes(b"GET /health HTTP/1.0\r\n\r\n");
    assert_eq!(conn.read_response().header("Connection"), Some("close"));
    conn.expect_eof();
}
