//! `--print-proxy`: what a proxy's configuration needs so that this server can stand behind it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config::Config;
use crate::app::WebSends;
use crate::app::peer::ListenerRole;
use crate::net::{Endpoint, ListenAddress, ProxyProtocol, Security};
use crate::ops::identity::Identity;

/// A proxy whose configuration can be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// nginx
    Nginx,
    /// Apache httpd
    Apache,
    /// Caddy
    Caddy,
    /// HAProxy
    Haproxy,
}

impl Config {
    /// The block for `proxy` that fits this configuration, or why there is none.
    ///
    /// It passes on the upgrade, waits longer than our pings take, buffers nothing, tells the
    /// client's address and takes away what would make a script of a request from outside.
    pub fn proxy_block(&self, proxy: Proxy) -> Result<String, String> {
        let endpoint = self.behind(proxy)?;
        let identity = match endpoint.options.security {
            Security::Plain => None,
            Security::Tls => Some(Identity::of(self.cert_files.first().map(PathBuf::as_path))),
        };
        let seconds = self.longest_silence().as_secs();
        let block = match proxy {
            Proxy::Nginx => nginx(endpoint, seconds),
            Proxy::Apache => apache(endpoint, seconds),
            Proxy::Caddy => caddy(endpoint, identity.as_ref()),
            Proxy::Haproxy => haproxy(endpoint, identity.as_ref(), seconds),
        };
        Ok(format!("{}{block}", self.advice(endpoint)))
    }

    /// The listener that this proxy can reach: none for scripts only, one with the PROXY protocol
    /// for those that speak it and only if there is no other.
    fn behind(&self, proxy: Proxy) -> Result<&Endpoint, String> {
        let for_pages = |endpoint: &&Endpoint| endpoint.options.role != ListenerRole::Scripts;
        let is_plain =
            |endpoint: &&Endpoint| endpoint.options.proxy_protocol == ProxyProtocol::None;
        let all = || self.listen.iter().map(|listen| &listen.endpoint);
        let speaks_it = matches!(proxy, Proxy::Haproxy | Proxy::Caddy);
        let preferred = match proxy {
            Proxy::Haproxy => all().filter(for_pages).find(|endpoint| !is_plain(endpoint)),
            Proxy::Nginx | Proxy::Apache | Proxy::Caddy => None,
        };
        preferred
            .or_else(|| all().filter(for_pages).find(|e| speaks_it || is_plain(e)))
            .ok_or_else(|| {
                "no address in adress is for this proxy: one without scripts and proxy behind it \
                 is wanted, such as ws://localhost:8096 web"
                    .to_owned()
            })
    }

    /// How long nothing may pass on a connection that is alive.
    fn longest_silence(&self) -> Duration {
        match self.server.limits.ping_interval {
            Duration::ZERO => DAY,
            interval => 2 * (interval + self.server.limits.pong_timeout) + Duration::from_secs(10),
        }
    }

    fn advice(&self, endpoint: &Endpoint) -> String {
        let mut text = String::new();
        let proxy = match &endpoint.address {
            ListenAddress::Unix(_) => None,
            ListenAddress::Tcp { host, .. } => Some(reachable(host)),
        };
        let ip = proxy.as_deref().map(|host| host.parse::<IpAddr>());
        let is_trusted = |ip| self.server.admission.trusted_proxies.contains(ip);
        let missing = match ip {
            None if !is_trusted(None) => Some("unix".to_owned()),
            Some(Ok(ip)) if !is_trusted(Some(ip)) => Some(if ip.is_loopback() {
                ip.to_string()
            } else {
                "THE PROXY'S ADDRESS".to_owned()
            }),
            Some(Err(_)) | Some(Ok(_)) | None => None,
        };
        if let Some(value) = missing {
            let _ = writeln!(text, "# websock.ini has to have: trustedProxies={value}");
        }
        if endpoint.options.role != ListenerRole::Web {
            let _ = writeln!(text, "# safer still: web behind the address in adress");
        }
        if self.server.web_sends == WebSends::default() {
            // Everybody who reaches the site may be a page.
            let _ = writeln!(
                text,
                "# unless your pages send to each other: webSends=echo in websock.ini"
            );
        }
        text + "# pages connect to wss://YOUR.SITE/websock/web\n"
    }
}

fn nginx(endpoint: &Endpoint, seconds: u64) -> String {
    let upstream = match &endpoint.address {
        ListenAddress::Unix(file) => format!("http://unix:{}:/", file.path.display()),
        ListenAddress::Tcp { .. } => format!("{}://{}/", scheme(endpoint), address(endpoint)),
    };
    format!(
        "# nginx: inside server {{ }} of your site
location ~ ^/websock/(push|position|users(/.*)?|nodes)$ {{ return 403; }}
location ~ ^/websock/(metrics|ready|health|status(\\.json|/close)?)$ {{ return 403; }}
location /websock/ {{
    proxy_pass {upstream};
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection \"upgrade\";
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header Forwarded \"\";
    proxy_set_header Client-Type \"\";
    proxy_buffering off;
    proxy_request_buffering off;
    proxy_read_timeout {seconds}s;
    proxy_send_timeout {seconds}s;
}}
"
    )
}

fn apache(endpoint: &Endpoint, seconds: u64) -> String {
    let upstream = match &endpoint.address {
        ListenAddress::Unix(file) => format!("unix:{}|http://localhost/", file.path.display()),
        ListenAddress::Tcp { .. } => format!("{}://{}/", scheme(endpoint), address(endpoint)),
    };
    // Apache takes any certificate (SSLProxyVerify none), but would have it be for the address.
    let tls = match endpoint.options.security {
        Security::Plain => String::new(),
        Security::Tls => format!(
            "SSLProxyEngine on
<Proxy \"{upstream}\">
    SSLProxyCheckPeerName off
</Proxy>
"
        ),
    };
    format!(
        "# Apache 2.4.47 or later: inside <VirtualHost> of your site;
# a2enmod proxy proxy_http headers{}
{tls}<Location \"/websock/\">
    RequestHeader unset Client-Type
    RequestHeader unset Forwarded
    RequestHeader unset X-Forwarded-For
    ProxyPreserveHost On
    ProxyPass \"{upstream}\" upgrade=websocket timeout={seconds} flushpackets=on
</Location>
<LocationMatch \"^/websock/(push|position|users(/.*)?|nodes)$\">
    Require all denied
</LocationMatch>
<LocationMatch \"^/websock/(metrics|ready|health|status(\\.json|/close)?)$\">
    Require all denied
</LocationMatch>
",
        if tls.is_empty() { "" } else { " ssl" }
    )
}

/// Caddy checks the certificate of what it passes requests to, for the name that it connects to
/// unless told otherwise, and that is an address of this machine.
fn caddy(endpoint: &Endpoint, identity: Option<&Identity>) -> String {
    let upstream = match (&endpoint.address, endpoint.options.security) {
        (ListenAddress::Unix(file), _) => format!("unix/{}", file.path.display()),
        (ListenAddress::Tcp { .. }, Security::Plain) => address(endpoint),
        (ListenAddress::Tcp { .. }, Security::Tls) => format!("https://{}", address(endpoint)),
    };
    let mut transport = Vec::new();
    if endpoint.options.proxy_protocol == ProxyProtocol::ProxyHeader {
        transport.push("proxy_protocol v2".to_owned());
    }
    if let Some(identity) = identity {
        transport.push("tls".to_owned());
        transport.push(format!("tls_server_name {}", identity.name));
        if let Some(file) = &identity.trusted_file {
            // Its successor tls_trust_pool needs Caddy 2.8; both know this one.
            transport.push(format!("tls_trusted_ca_certs {}", file.display()));
        }
    }
    let opening = if transport.is_empty() {
        String::new()
    } else {
        let lines = transport.iter().map(|line| format!("            {line}\n"));
        let lines: String = lines.collect();
        format!("\n        transport http {{\n{lines}        }}")
    };
    let forwarded = match endpoint.options.proxy_protocol {
        ProxyProtocol::None => "X-Forwarded-For {remote_host}",
        ProxyProtocol::ProxyHeader => "-X-Forwarded-*",
    };
    format!(
        "# Caddy: inside the block of your site
handle_path /websock/* {{
    @own path /push /position /users /users/* /nodes /metrics /ready /health /status /status.json /status/close
    respond @own 403
    reverse_proxy {upstream} {{
        header_up -Client-Type
        header_up -Forwarded
        header_up {forwarded}
        flush_interval -1{opening}
    }}
}}
"
    )
}

fn haproxy(endpoint: &Endpoint, identity: Option<&Identity>, seconds: u64) -> String {
    let upstream = match &endpoint.address {
        ListenAddress::Unix(file) => file.path.display().to_string(),
        ListenAddress::Tcp { .. } => address(endpoint),
    };
    let tls = identity.map_or_else(String::new, |identity| {
        let file = identity.trusted_file.as_deref();
        let file = file.map_or("@system-ca".into(), Path::to_string_lossy);
        format!(
            " ssl verify required ca-file {file} sni str({})",
            identity.name
        )
    });
    let (told, opening) = match endpoint.options.proxy_protocol {
        ProxyProtocol::None => ("set-header X-Forwarded-For %[src]", ""),
        ProxyProtocol::ProxyHeader => ("del-header X-Forwarded- -m beg", " send-proxy-v2"),
    };
    format!(
        "# HAProxy: in the frontend of your site
#   use_backend websock if {{ path_beg /websock/ }}
backend websock
    mode http
    http-request replace-path ^/websock(/.*) \\1
    http-request deny deny_status 403 if {{ path,url_dec -m str /push /position /users /nodes /metrics /ready /health /status /status.json /status/close }}
    http-request deny deny_status 403 if {{ path,url_dec -m beg /users/ }}
    http-request del-header Client-Type
    http-request del-header Forwarded
    http-request {told}
    timeout connect 5s
    timeout server {seconds}s
    timeout tunnel {seconds}s
    server websock {upstream}{tls}{opening}
"
    )
}

fn scheme(endpoint: &Endpoint) -> &'static str {
    endpoint.options.security.http_scheme()
}

/// Host and port as the proxy reaches them.
fn address(endpoint: &Endpoint) -> String {
    match &endpoint.address {
        ListenAddress::Tcp { host, port } => ListenAddress::Tcp {
            host: reachable(host),
            port: *port,
        }
        .to_string(),
        ListenAddress::Unix(_) => endpoint.address.to_string(),
    }
}

/// Where a proxy on this machine reaches what listens on `host`.
fn reachable(host: &str) -> String {
    let is_any = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    if is_any || host.eq_ignore_ascii_case("localhost") {
        "127.0.0.1".to_owned()
    } else {
        host.to_owned()
    }
}

const DAY: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;

    const ALL: [Proxy; 4] = [Proxy::Nginx, Proxy::Apache, Proxy::Caddy, Proxy::Haproxy];

    fn block(ini: &str, proxy: Proxy) -> Result<String, String> {
        let config = Config::parse(Some(Path::new("a")), ini, &Options::default(), &|_| None);
        config.expect(ini).proxy_block(proxy)
    }

    #[test]
    fn every_block_reaches_the_listener_and_takes_the_scripts_role_away() {
        for (ini, address) in [
            ("", "127.0.0.1:8096"),
            ("adress=ws://a:1 scripts, 0.0.0.0:81", "127.0.0.1:81"),
            ("adress=unix:/run/w.sock", "/run/w.sock"),
            ("adress=[::1]:81", "[::1]:81"),
        ] {
            for proxy in ALL {
                let text = block(ini, proxy).expect(ini);
                assert!(text.contains(address), "{address} is not in {text}");
                assert!(
                    "Client-Type push position users nodes metrics status"
                        .split(' ')
                        .all(|word| text.contains(word)),
                    "{text}"
                );
                assert!(text.contains("has to have: trustedProxies="), "{text}");
            }
        }
    }

    #[test]
    fn proxies_wait_longer_than_our_pings_take() {
        let ini = "pingInterval=100\npongTimeout=30";
        for proxy in [Proxy::Nginx, Proxy::Apache, Proxy::Haproxy] {
            assert!(block(ini, proxy).expect(ini).contains("270"));
            assert!(block("pingInterval=0", proxy).expect(ini).contains("86400"));
        }
    }

    #[test]
    fn what_is_set_already_is_not_asked_for() {
        let ini = "adress=localhost:8096 web\ntrustedProxies=127.0.0.1";
        for proxy in ALL {
            let text = block(ini, proxy).expect(ini);
            assert!(!text.contains("has to have"), "{text}");
            assert!(!text.contains("safer still"), "{text}");
            assert!(text.contains("webSends=echo"), "{text}");
            let closed = block(&format!("{ini}\nwebSends=echo"), proxy).expect(ini);
            assert!(!closed.contains("webSends"), "{closed}");
        }
    }

    #[test]
    fn proxies_that_check_the_certificate_are_told_its_name() {
        let ini = "adress=wss://localhost:8443 web\ncertFile=/no/such/cert.pem";
        let caddy = block(ini, Proxy::Caddy).expect(ini);
        let expected = "        transport http {
            tls
            tls_server_name YOUR.SITE
        }";
        assert!(caddy.contains(expected), "{caddy}");
        assert!(caddy.contains("https://127.0.0.1:8443"), "{caddy}");
        let haproxy = block(ini, Proxy::Haproxy).expect(ini);
        let expected = "ca-file @system-ca sni str(YOUR.SITE)";
        assert!(haproxy.contains(expected), "{haproxy}");
    }

    #[test]
    fn the_proxy_protocol_is_for_those_who_speak_it() {
        let ini = "adress=localhost:8096 proxy\ntrustedProxies=127.0.0.1";
        assert!(
            block(ini, Proxy::Haproxy)
                .expect(ini)
                .contains("send-proxy-v2")
        );
        assert!(
            block(ini, Proxy::Caddy)
                .expect(ini)
                .contains("proxy_protocol v2")
        );
        for proxy in [Proxy::Nginx, Proxy::Apache] {
            let error = block(ini, proxy).expect_err(ini);
            assert!(error.contains("ws://localhost:8096 web"), "{error}");
        }
        for proxy in ALL {
            assert!(block("adress=localhost:1 scripts", proxy).is_err());
        }
    }
}
