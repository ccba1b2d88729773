//! Wires options, configuration, logging and the server together.
//!
//! Exit codes: 0 done, 1 a wrong setting or a start that failed, 2 a wrong command line.
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use websock::app::Standard;
use websock::app::sign_in::TicketKey;
use websock::base::plain;
use websock::cli;
use websock::cli::check::findings;
use websock::cli::client::{Failure, Outcome};
use websock::cli::options::{self, ClientOptions, Detail, Invocation, Options, Proxy, USAGE};
use websock::cli::reload::Reloader;
use websock::config::{Config, Errors};
use websock::logging::{LogSettings, Logger};
use websock::net::{Predecessor, Server};
use websock::ops;
use websock::ops::inherited::Inherited;
use websock::ops::notify::Notifier;
use websock::ops::state_dir::StateDir;
use websock::ops::successor::Successor;

fn main() -> ExitCode {
    if let Err(error) = ops::survive_file_size_limit() {
        complain(format_args!("warning: SIGXFSZ ends the process: {error}"));
    }
    if cfg!(all(target_env = "gnu", target_feature = "crt-static")) {
        ops::names::link_is_static();
    }
    match options::parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Serve(options)) => serve(&options).unwrap_or_else(|code| code),
        Ok(Invocation::Check {
            options,
            dial,
            detail,
        }) => check(&options, dial.as_deref(), detail),
        Ok(Invocation::PrintProxy(options, proxy)) => {
            print_proxy(&options, proxy).unwrap_or_else(|code| code)
        }
        Ok(Invocation::Client(options)) => be_client(&options),
        Ok(Invocation::Help) => say(USAGE),
        Ok(Invocation::Version) => say(concat!("websock ", env!("CARGO_PKG_VERSION"), "\n")),
        Err(error) => {
            complain(format_args!("websock: {error}\nTry 'websock --help'."));
            ExitCode::from(2)
        }
    }
}

fn serve(options: &Options) -> Result<ExitCode, ExitCode> {
    // First, as no thread may be there yet.
    let inherited = Inherited::from_environment();
    let mut config = Config::load(options).map_err(|errors| {
        record(&errors);
        failure(errors)
    })?;
    let variable = |name: &str| std::env::var(name).ok();
    config.settle_takeover(&variable, ops::is_root());
    let logger = Arc::new(Logger::start(&config.log).map_err(failure)?);
    log::info!("{}", first_line(&config));
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    log::info!("Starting server...");
    let predecessor = options.takeover.then(|| find_predecessor(&config));
    let started = match predecessor.transpose() {
        Ok(predecessor) => run(options, &config, &logger, inherited, predecessor),
        Err(error) => Err(error),
    };
    let served = started.map_err(|error| {
        logger.record_in_file(&error);
        failure(format_args!("error: {error}"))
    });
    // A thread that still reads settings from a slow disk holds the logger, too.
    logger.flush();
    served.map(|()| ExitCode::SUCCESS)
}

/// Who it is that writes into this log, and by what it goes.
fn first_line(config: &Config) -> String {
    let commit = option_env!("WEBSOCK_COMMIT").unwrap_or("no commit named");
    let file = config.source.as_deref();
    let file = file.map_or_else(
        || "no ini file".to_owned(),
        |file| file.display().to_string(),
    );
    let listeners: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    format!(
        "websock {} ({commit}), process {}, {file}, {}",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        listeners.join(", ")
    )
}

/// Serves until a signal comes. The logger is there already, so that a start that fails can be
/// looked up in the log file.
fn run(
    options: &Options,
    config: &Config,
    logger: &Arc<Logger>,
    inherited: io::Result<Inherited>,
    mut predecessor: Option<Predecessor>,
) -> Result<(), String> {
    let inherited = inherited.map_err(|error| format!("LISTEN_FDS: {}", plain(&error)))?;
    ops::raise_open_file_limit(config.server.admission.max_clients);
    let inherited = match &mut predecessor {
        Some(predecessor) => predecessor.take_sockets(),
        None => inherited,
    };
    let certificates = config
        .certificates()
        .map_err(|problem| problem.to_string())?;
    let mut server = Server::bind_inheriting(config.server.clone(), &config.endpoints(), inherited)
        .map_err(|error| config.listen_problem(error).to_string())?;
    if let Some(certificates) = certificates {
        server.set_certificates(certificates);
    }
    server.set_notifier(Notifier::from_environment());
    if let Some(dir) = state_dir(config)? {
        if let Some(key) = ticket_key(config, &dir)? {
            server.set_ticket_key(key);
        }
        server.keep_state_in(dir);
    }
    server.add_resource(Some("/"), Box::new(Standard::root()));
    server.add_resource(Some("/web"), Box::new(Standard::new()));
    server.add_resource(Some("/php"), Box::new(Standard::new()));
    let shown = Arc::clone(logger);
    server.show_log(move || shown.recent());
    let reopened = Arc::clone(logger);
    server.on_hangup(move || reopened.reopen());
    let successor = Successor::of_this_process();
    server.on_upgrade(move || match &successor {
        Ok(successor) => successor.start(),
        Err(error) => log::error!("SIGUSR2: the program's file is not known: {}", plain(error)),
    });
    let reloader = Reloader::new(options.clone(), config.clone(), Arc::clone(logger));
    server.on_reload(move || reloader.read());
    if predecessor.is_none() {
        server.restore_state();
    }
    if let Some(predecessor) = predecessor {
        let taken = server.take_over(&predecessor);
        taken.map_err(|error| error.to_string())?;
    }
    server.run().map_err(|error| error.to_string())
}

/// Asks the server that is running; all that is wrong with this one's settings is known by now.
fn find_predecessor(config: &Config) -> Result<Predecessor, String> {
    match &config.server.takeover.socket {
        Some(path) => Predecessor::ask(path).map_err(|error| error.to_string()),
        None => Err(config
            .problem("takeoverSocket", "a file name is wanted for --takeover")
            .to_string()),
    }
}

/// The directory for what outlives the server. Who signs in needs it; without it, those who are away
/// at a restart are told that they may have missed something.
fn state_dir(config: &Config) -> Result<Option<StateDir>, String> {
    let Some(path) = config.state_dir() else {
        return Ok(None);
    };
    match StateDir::open(&path) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if config.server.sign_in.is_on() => {
            Err(state_dir_problem(config, &path, &error))
        }
        Err(error) => {
            log::warn!("{}", state_dir_problem(config, &path, &error));
            Ok(None)
        }
    }
}

/// The key that tickets are signed with.
fn ticket_key(config: &Config, dir: &StateDir) -> Result<Option<TicketKey>, String> {
    if !config.server.sign_in.is_on() {
        return Ok(None);
    }
    let secret = dir.secret("tickets.key");
    let secret = secret.map_err(|error| state_dir_problem(config, dir.path(), &error))?;
    Ok(Some(TicketKey::new(&secret)))
}

fn state_dir_problem(config: &Config, path: &Path, error: &io::Error) -> String {
    let reason = format!("{}: {}", path.display(), plain(error));
    config.problem("stateDir", reason).to_string()
}

/// Writes to the log file what is wrong with the rest of the configuration.
fn record(errors: &Errors) {
    let Some(log) = errors.log().filter(|log| log.file.is_some()) else {
        return;
    };
    // Standard output says nothing of a start that fails before the log is up.
    let log = LogSettings {
        console: false,
        ..log.clone()
    };
    if let Ok(logger) = Logger::start(&log) {
        for problem in errors.problems() {
            logger.record_in_file(problem);
        }
    }
}

/// Says what would stop `serve`; the last line is the verdict.
fn check(options: &Options, dial: Option<&str>, detail: Detail) -> ExitCode {
    let found = findings(options, dial);
    for warning in &found.warnings {
        complain(format_args!("warning: {warning}"));
    }
    for problem in &found.problems {
        complain(format_args!("error: {problem}"));
    }
    let settings = match detail {
        Detail::Findings => "",
        Detail::Settings => &found.settings,
    };
    let successes = found.successes.iter().map(|text| format!("{text}\n"));
    let successes: String = successes.collect();
    let said = say(&format!("{settings}{successes}{}\n", found.verdict()));
    if found.problems.is_empty() {
        said
    } else {
        ExitCode::FAILURE
    }
}

fn print_proxy(options: &Options, proxy: Proxy) -> Result<ExitCode, ExitCode> {
    let config = Config::load(options).map_err(failure)?;
    let block = config
        .proxy_block(proxy)
        .map_err(|reason| failure(format_args!("error: {}", config.problem("adress", reason))))?;
    Ok(say(&block))
}

fn be_client(options: &ClientOptions) -> ExitCode {
    let ClientOptions {
        command,
        address,
        settings,
    } = options;
    match cli::client::run(command, address, settings, &mut io::stdout()) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Incomplete) => ExitCode::FAILURE,
        // Whoever read our output has had enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => failure(format_args!("websock: {error}")),
    }
}

/// Unlike `print!`, survives a reader that has gone; any other failure is told.
fn say(text: &str) -> ExitCode {
    let mut stdout = io::stdout();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            failure(format_args!("websock: standard output: {}", plain(&error)))
        }
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

/// Unlike `eprintln!`, survives a reader that has gone.
fn complain(what: impl Display) {
    let _ = writeln!(io::stderr(), "{what}");
}

fn failure(error: impl Display) -> ExitCode {
    complain(error);
    ExitCode::FAILURE
}
