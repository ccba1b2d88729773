//! The files that the server has in itself: the demo page, the status page and the client script.

use super::demo::Demo;
use super::response::Response;

/// One file.
#[derive(Clone, Copy, Debug)]
pub struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static str,
    availability: Availability,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Availability {
    Always,
    Demo,
    /// Who may see how the server does.
    Status,
}

impl Asset {
    /// The file at a path.
    pub fn at(path: &str, demo: Demo) -> Option<Self> {
        let asset = ASSETS.iter().find(|asset| asset.path == path)?;
        let is_there = match asset.availability {
            Availability::Always => true,
            Availability::Demo => demo == Demo::On,
            Availability::Status => false,
        };
        is_there.then_some(*asset)
    }

    /// The status page's file at a path.
    pub fn of_status(path: &str) -> Option<Self> {
        let is_it =
            |asset: &&Self| asset.path == path && asset.availability == Availability::Status;
        ASSETS.iter().find(is_it).copied()
    }

    /// The response to a GET.
    pub fn response(self) -> Response {
        let mut response = Response::with_body(200, self.content_type, self.body.as_bytes().into());
        // A new version of the server may have a new one.
        response.add_header("Cache-Control", "no-cache");
        let policy = match self.availability {
            Availability::Always | Availability::Demo => CONTENT_SECURITY_POLICY,
            Availability::Status => STATUS_SECURITY_POLICY,
        };
        response.add_header("Content-Security-Policy", policy);
        response.add_header("Referrer-Policy", "no-referrer");
        if self.availability == Availability::Status {
            response.add_header("Cross-Origin-Resource-Policy", "same-origin");
        }
        // Pages of other origins may load the client as a module, which browsers do with CORS.
        if self.availability == Availability::Always {
            response.add_header("Access-Control-Allow-Origin", "*");
        }
        response
    }
}

const ASSETS: [Asset; 7] = [
    Asset {
        path: "/websock.js",
        content_type: "text/javascript; charset=utf-8",
        body: include_str!("../../clients/js/websock.js"),
        availability: Availability::Always,
    },
    Asset {
        path: "/",
        content_type: "text/html; charset=utf-8",
        body: include_str!("assets/demo.html"),
        availability: Availability::Demo,
    },
    Asset {
        path: "/demo.css",
        content_type: "text/css; charset=utf-8",
        body: include_str!("assets/demo.css"),
        availability: Availability::Demo,
    },
    Asset {
        path: "/demo.js",
        content_type: "text/javascript; charset=utf-8",
        body: include_str!("assets/demo.js"),
        availability: Availability::Demo,
    },
    Asset {
        path: "/status",
        content_type: "text/html; charset=utf-8",
        body: include_str!("assets/status.html"),
        availability: Availability::Status,
    },
    Asset {
        path: "/status.css",
        content_type: "text/css; charset=utf-8",
        body: include_str!("assets/status.css"),
        availability: Availability::Status,
    },
    Asset {
        path: "/status.js",
        content_type: "text/javascript; charset=utf-8",
        body: include_str!("assets/status.js"),
        availability: Availability::Status,
    },
];

/// Nothing from elsewhere, nothing inline, in no frame. A browser that takes `'self'` for the
/// page's scheme alone needs the WebSocket schemes named.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The same, but that it asks nobody but where it came from.
const STATUS_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
