//! The configuration: flags over environment over file over defaults.
//!
//! This is the only module that reads the environment. Every key exists once, as a field of
//! [`Layer`]: its flag, its variable `SCIMD_…`, its key in the file and its line in the help follow
//! from that field.

mod layer;
mod settings;
mod values;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::error::ContextKind;
use clap::{Args as _, FromArgMatches as _};

pub use layer::{Layer, LogFormat};
pub use settings::{Entry, Origin, Settings};
pub use values::{DatabaseUrl, Network};

/// What the names of the environment variables start with.
const PREFIX: &str = "SCIMD_";

/// The variable that names the file; it is no key, because a file cannot name itself.
const CONFIG_VARIABLE: &str = "SCIMD_CONFIG";

/// The three places where a key can be set, strongest first.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The command line.
    pub flags: Layer,
    /// The environment.
    pub environment: Layer,
    /// The file and where it is.
    pub file: Option<(PathBuf, Layer)>,
}

/// Reads the environment and the file and lays the flags over them.
///
/// A variable with an empty value counts as not set: container set-ups pass on variables that nobody
/// has filled in.
pub fn load(flags: Layer, file: Option<PathBuf>) -> Result<Settings> {
    let variables = std::env::vars_os().filter(|(name, value)| {
        name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) && !value.is_empty()
    });
    let environment = read_environment(variables)?;
    let file = match file.or(environment.file) {
        Some(path) => Some((path.clone(), read_file(&path)?)),
        None => None,
    };
    Layers { flags, environment: environment.layer, file }.resolve()
}

/// Says in the help of every key what it is without being set, and what its variable is called.
pub(super) fn describe(command: clap::Command) -> clap::Command {
    let defaults = Layers::default().resolve();
    command.mut_args(|arg| {
        let Some(entry) = defaults
            .iter()
            .flat_map(Settings::entries)
            .find(|entry| entry.key == arg.get_id().as_str())
        else {
            return arg;
        };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let (default, variable) = (entry.text(), variable(entry.key));
        arg.help(format!("{help} [default: {default}] [env: {variable}]"))
    })
}

/// What the environment says.
struct Environment {
    layer: Layer,
    file: Option<PathBuf>,
}

/// Reads variables as if they were flags, so that both have the same forms and the same errors.
fn read_environment(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Environment> {
    let mut file = None;
    let mut all = vec![OsString::from("scimd")];
    for (name, value) in variables {
        let name = name.to_string_lossy();
        if name == CONFIG_VARIABLE {
            file = Some(PathBuf::from(value));
            continue;
        }
        let key = name.trim_start_matches(PREFIX).to_lowercase();
        if !keys().contains(&key) {
            if is_of_kubernetes(&name, &value) {
                continue;
            }
            let hint = match close_to(&key) {
                Some(close) => format!("did you mean {}?", variable(&close)),
                None => format!("the known ones are {}", known_variables()),
            };
            bail!("the environment variable {name} is unknown; {hint}");
        }
        let mut flag = OsString::from(format!("--{}=", key.replace('_', "-")));
        flag.push(&value);
        if let Err(error) = parse([OsStr::new("scimd"), &flag]) {
            bail!("{}", as_variable(&error, &name));
        }
        all.push(flag);
    }
    Ok(Environment { layer: parse(&all)?, file })
}

fn read_file(path: &Path) -> Result<Layer> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the configuration file {shown} cannot be read"))?;
    // The error's own text would repeat the line, and with it the password of a database.
    let told = |error: &toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
        let message = error.message();
        anyhow::anyhow!("the configuration file {shown} is wrong in line {line}: {message}")
    };
    let table: toml::Table = toml::from_str(&text).map_err(|error| told(&error))?;
    if let Some(key) = table.keys().find(|key| !keys().contains(key)) {
        let hint = match close_to(key) {
            Some(close) => format!("did you mean `{close}`?"),
            None => format!("the known ones are {}", keys().join(", ")),
        };
        bail!("the configuration file {shown} has the unknown key `{key}`; {hint}");
    }
    toml::from_str(&text).map_err(|error| told(&error))
}

fn parser() -> clap::Command {
    Layer::augment_args(clap::Command::new("scimd")).disable_help_flag(true)
}

fn parse<T: Into<OsString> + Clone>(
    flags: impl IntoIterator<Item = T>,
) -> std::result::Result<Layer, clap::Error> {
    Layer::from_arg_matches(&parser().try_get_matches_from(flags)?)
}

/// Every key, in order.
fn keys() -> Vec<String> {
    let parser = parser();
    let keys = parser.get_arguments().map(|arg| arg.get_id().to_string());
    keys.collect()
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase())
}

fn known_variables() -> String {
    let names = keys().iter().map(|key| variable(key)).collect::<Vec<_>>();
    format!("{CONFIG_VARIABLE}, {}", names.join(", "))
}

/// The key that somebody may have meant: the command line's own search for misspelt flags.
fn close_to(key: &str) -> Option<String> {
    let flag = format!("--{}", key.to_lowercase().replace('_', "-"));
    let error = parser().try_get_matches_from(["scimd", &flag]).err()?;
    let close = error.get(ContextKind::SuggestedArg)?.to_string();
    Some(close.trim_start_matches('-').replace('-', "_"))
}

/// Kubernetes describes every service of a namespace to every container: a service named `scimd` or
/// `scimd-postgres` sets variables that nobody means as configuration.
fn is_of_kubernetes(name: &str, value: &OsStr) -> bool {
    let is_address = value.to_string_lossy().contains("://");
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.contains("_PORT_")
        || (name.ends_with("_PORT") && is_address)
}

/// An error about a flag, told of the variable that was read as one.
fn as_variable(error: &clap::Error, name: &str) -> String {
    let text = error.to_string();
    let lines: Vec<_> = text.lines().take_while(|line| !line.is_empty()).collect();
    let text = lines.join(" ").replace("error: ", "");
    match error.get(ContextKind::InvalidArg) {
        Some(flag) => text.replace(&format!("'{flag}'"), name),
        None => format!("{name}: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Result<Environment> {
        read_environment(
            variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))),
        )
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let layer = |connections| Layer { database_connections: connections, ..Layer::default() };
        //  flag     variable  file     result
        let cases = [
            (Some(1), Some(2), Some(3), 1, "flag --database-connections"),
            (None, Some(2), Some(3), 2, "environment SCIMD_DATABASE_CONNECTIONS"),
            (None, None, Some(3), 3, "file scimd.toml"),
            (None, None, None, 20, "default"),
        ];
        for (flag, variable, file, value, origin) in cases {
            let layers = Layers {
                flags: layer(flag),
                environment: layer(variable),
                file: Some(("scimd.toml".into(), layer(file))),
            };
            let settings = layers.resolve().unwrap();
            assert_eq!(settings.database_connections, value);
            let entry = settings.entries().find(|entry| entry.key == "database_connections");
            assert_eq!(entry.unwrap().origin.to_string(), origin);
        }
    }

    #[test]
    fn variables_are_read_like_flags() {
        let read = environment(&[
            ("SCIMD_CONFIG", "/etc/scimd.toml"),
            ("SCIMD_TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.1"),
            ("SCIMD_LOG_FORMAT", "json"),
        ])
        .unwrap();
        assert_eq!(read.file, Some("/etc/scimd.toml".into()));
        assert_eq!(read.layer.trusted_proxies.unwrap().len(), 2);
        assert_eq!(read.layer.log_format, Some(LogFormat::Json));
    }

    #[test]
    fn what_kubernetes_says_of_its_services_is_not_configuration() {
        let services = [
            ("SCIMD_SERVICE_HOST", "10.0.0.1"),
            ("SCIMD_SERVICE_PORT_HTTP", "80"),
            ("SCIMD_PORT", "tcp://10.0.0.1:80"),
            ("SCIMD_POSTGRES_PORT_5432_TCP_ADDR", "10.0.0.2"),
        ];
        assert!(environment(&services).is_ok());
        assert!(environment(&[("SCIMD_PORT", "8080")]).is_err());
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let cases = [
            (
                ("SCIMD_LISTEN", "8080"),
                "invalid value '8080' for SCIMD_LISTEN: invalid socket address syntax",
            ),
            (
                ("SCIMD_LOG_FORMAT", "xml"),
                "invalid value 'xml' for SCIMD_LOG_FORMAT   [possible values: text, json]",
            ),
            (
                ("SCIMD_LISTN", "127.0.0.1:80"),
                "the environment variable SCIMD_LISTN is unknown; did you mean SCIMD_LISTEN?",
            ),
        ];
        for (variable, message) in cases {
            let error = environment(&[variable]).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), Some(message));
        }
    }

    #[test]
    fn every_key_of_the_file_is_a_flag_and_shown() {
        let settings = Layers::default().resolve().unwrap();
        let shown: Vec<_> = settings.entries().map(|entry| entry.key.to_owned()).collect();
        assert_eq!(shown, keys());
        let error = toml::from_str::<Layer>("nothing = 1").unwrap_err().to_string();
        for key in keys() {
            assert!(error.contains(&format!("`{key}`")), "{key} in {error}");
        }
    }
}
