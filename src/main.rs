//! Wires options, configuration, logging and the server together.
//!
//! Exit codes: 0 done, 1 a wrong setting or a start that failed, 2 a wrong command line.
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::rc::Rc;

use websock::app::Standard;
use websock::cli;
use websock::cli::check::findings;
use websock::cli::options::{self, ClientOptions, Invocation, Options, Proxy, USAGE};
use websock::client;
use websock::config::Config;
use websock::logging::Logger;
use websock::net::Server;
use websock::ops;
use websock::ops::certificates::Certificates;
use websock::ops::inherited::Inherited;

fn main() -> ExitCode {
    if let Err(error) = ops::survive_file_size_limit() {
        complain(format_args!("warning: SIGXFSZ ends the process: {error}"));
    }
    match options::parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Serve(options)) => serve(&options).unwrap_or_else(|code| code),
        Ok(Invocation::Check { options, dial }) => {
            check(&options, dial.as_deref()).unwrap_or_else(|code| code)
        }
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
    let inherited = Inherited::from_environment()
        .map_err(|error| failure(format_args!("error: LISTEN_FDS: {error}")))?;
    let config = Config::load(options).map_err(failure)?;
    let logger = Rc::new(Logger::start(&config.log).map_err(failure)?);
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    log::info!("Starting server...");
    ops::raise_open_file_limit(config.admission.max_clients);
    let certificates = config
        .certificates()
        .map_err(|problem| failure(format_args!("error: {problem}")))?;
    let mut server =
        Server::bind_inheriting(config.server_settings(), &config.endpoints(), inherited)
            .map_err(|error| failure(format_args!("error: {}", config.problem("adress", error))))?;
    if let Some(certificates) = certificates {
        server.set_certificates(certificates);
    }
    server.add_resource(Some("/"), Box::new(Standard::root()));
    server.add_resource(Some("/web"), Box::new(Standard::new()));
    server.add_resource(Some("/php"), Box::new(Standard::new()));
    let reopened = Rc::clone(&logger);
    server.on_hangup(move || reopened.reopen());
    server.run().map_err(failure)?;
    Ok(ExitCode::SUCCESS)
}

/// Tells what `serve` would run with; nothing is opened.
fn check(options: &Options, dial: Option<&str>) -> Result<ExitCode, ExitCode> {
    let config = Config::load(options).map_err(failure)?;
    for warning in &config.warnings {
        complain(format_args!("warning: {warning}"));
    }
    let certificates = config
        .certificates()
        .map_err(|problem| failure(format_args!("error: {problem}")))?;
    for warning in certificates.iter().flat_map(Certificates::warnings) {
        complain(format_args!("warning: {warning}"));
    }
    let mut report = config.report().map_err(failure)?;
    let certificates = certificates.iter().flat_map(Certificates::descriptions);
    for finding in certificates.cloned().chain(findings(&config)) {
        report.push_str(&format!("; {finding}\n"));
    }
    say(&report);
    match dial {
        Some(url) => connect(url, &config),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Comes to the server as a page does.
fn connect(url: &str, config: &Config) -> Result<ExitCode, ExitCode> {
    let origins = &config.admission.allowed_origins;
    let settings = client::ClientSettings {
        origin: origins.first().cloned().unwrap_or_default(),
        ..client::ClientSettings::page()
    };
    let dialled = client::Client::connect(url, &settings).map_err(|error| {
        let (step, advice) = error.diagnosis();
        let advice = advice.map_or_else(String::new, |advice| format!("; {advice}"));
        failure(format_args!(
            "error: {url} fails at {step}: {error}{advice}"
        ))
    })?;
    if let Err(error) = dialled.close() {
        complain(format_args!("warning: {url}: {error}"));
    }
    Ok(say(&format!("; {url} answers: ready\n")))
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
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has had enough.
        Err(client::Error::Lost(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => failure(format_args!("websock: {error}")),
    }
}

/// Unlike `print!`, survives a reader that has gone.
fn say(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Unlike `eprintln!`, survives a reader that has gone.
fn complain(what: impl Display) {
    let _ = writeln!(io::stderr(), "{what}");
}

fn failure(error: impl Display) -> ExitCode {
    complain(error);
    ExitCode::FAILURE
}
