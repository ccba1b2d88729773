//! Where successors ask, if `takeoverSocket` leaves it open.

use std::path::PathBuf;

use super::config::Config;
use super::control_path::ControlPath;
use crate::net::ListenAddress;

impl Config {
    /// Fills in what follows from the environment: where successors ask.
    ///
    /// The service manager gives each service a folder of its own; else the file is named after the
    /// port, so that several servers of one user do not meet. `None` without a folder that only this
    /// user can write to, or without a port.
    pub fn settle_takeover(&mut self, variable: &dyn Fn(&str) -> Option<String>, is_root: bool) {
        self.server.takeover.socket = match &self.takeover_socket {
            ControlPath::Off => None,
            ControlPath::File(path) => Some(path.clone()),
            ControlPath::Auto => self.default_socket(variable, is_root),
        };
    }

    fn default_socket(
        &self,
        variable: &dyn Fn(&str) -> Option<String>,
        is_root: bool,
    ) -> Option<PathBuf> {
        // systemd.exec(5): several are separated by colons.
        let first = |folders: String| folders.split(':').next().map(PathBuf::from);
        let folder = |name| {
            variable(name)
                .and_then(first)
                .filter(|folder| folder.is_dir())
        };
        if let Some(folder) = folder("RUNTIME_DIRECTORY") {
            return Some(folder.join("takeover.sock"));
        }
        let port = self
            .listen
            .iter()
            .find_map(|listen| match listen.endpoint.address {
                ListenAddress::Tcp { port, .. } => Some(port).filter(|port| *port != 0),
                ListenAddress::Unix(_) => None,
            })?;
        let folder = match is_root {
            true => Some(PathBuf::from("/run")).filter(|folder| folder.is_dir()),
            false => folder("XDG_RUNTIME_DIR"),
        };
        Some(folder?.join(format!("websock-{port}-takeover.sock")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;

    fn settled(ini: &str, variables: &[(&str, &str)], is_root: bool) -> Option<String> {
        let mut config = Config::parse(None, ini, &Options::default(), &|_| None).unwrap();
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        config.settle_takeover(&variable, is_root);
        let socket = config.server.takeover.socket;
        socket.map(|path| path.to_string_lossy().into_owned())
    }

    #[test]
    fn the_socket_is_where_only_this_service_or_this_user_can_put_it() {
        let service = ("RUNTIME_DIRECTORY", "/usr:/nowhere");
        let user = ("XDG_RUNTIME_DIR", "/tmp");
        let table: [(&str, &[_], _, _); 9] = [
            ("", &[service, user], false, Some("/usr/takeover.sock")),
            ("", &[service], true, Some("/usr/takeover.sock")),
            ("", &[user], false, Some("/tmp/websock-8096-takeover.sock")),
            ("", &[user], true, Some("/run/websock-8096-takeover.sock")),
            ("", &[("XDG_RUNTIME_DIR", "/nowhere")], false, None),
            ("", &[], false, None),
            ("adress=ws://127.0.0.1:0", &[user], false, None),
            ("takeoverSocket=off", &[service], false, None),
            ("takeoverSocket=/a/b", &[service], false, Some("/a/b")),
        ];
        for (ini, variables, is_root, expected) in table {
            let found = settled(ini, variables, is_root);
            assert_eq!(found.as_deref(), expected, "{ini} {variables:?}");
        }
    }
}
