//! Pages that sign in: each by a token, as a user of its own.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What tokens are signed with.
const KEY: &str = "a secret of thirty-two bytes or more";

/// What makes a server let them in.
pub(crate) const AUTH_KEY_LINE: &str = "authKey=a secret of thirty-two bytes or more\n";

/// The id of the user with this number: as long as a shop's.
pub(crate) fn id(number: usize) -> String {
    format!("{}", 1_000_000 + number)
}

/// The header line by which a page of this user signs in.
pub(crate) fn cookie(number: usize) -> String {
    let claims = format!(
        r#"{{"sub":"{}","exp":4102444800,"aud":"websock"}}"#,
        id(number)
    );
    let head = r#"{"alg":"HS256","typ":"JWT"}"#;
    let signed = [head, &claims]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".");
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
    format!("Cookie: websock_token={signed}.{signature}\r\n")
}
