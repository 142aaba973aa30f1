//! Values of the configuration that need more than a number or a text.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ipnet::IpNet;

/// Where the database is. It may hold a password, so it is only ever printed without.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

/// A network of proxies: `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(try_from = "String")]
pub struct Network(pub IpNet);

impl DatabaseUrl {
    /// The database in a data folder.
    pub(super) fn in_folder(folder: &Path) -> Result<Self, String> {
        let file = folder.join("scimd.db");
        let file = file.to_str().ok_or("must be valid UTF-8")?;
        // What stands behind a question mark would be options, and percent signs are decoded.
        let file = file.replace('%', "%25").replace('?', "%3F");
        Ok(Self(format!("sqlite://{file}")))
    }

    /// Checks the kind of the database. The text is not repeated: it may hold a password.
    pub(super) fn check(&self) -> Result<(), String> {
        let known = ["sqlite:", "postgres://", "postgresql://"];
        if !known.iter().any(|scheme| self.0.starts_with(scheme)) {
            return Err("must start with sqlite:// or postgres://".to_owned());
        }
        if self.0.starts_with("sqlite:") && self.0.contains(":memory:") {
            return Err("must name a file: a database in memory would keep nothing".to_owned());
        }
        if self.0.starts_with("sqlite:") && self.0.contains('?') {
            let error = "takes no options: leave out what stands behind the question mark, or write %3F for \
                         one in the name of the file";
            return Err(error.to_owned());
        }
        Ok(())
    }

    /// The address with its password, for the driver and nobody else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The file of a SQLite database, as far as the address says so plainly.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        let rest = self.0.strip_prefix("sqlite:")?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (file, _) = rest.split_once('?').unwrap_or((rest, ""));
        let file = file.replace("%3F", "?").replace("%25", "%");
        Some(PathBuf::from(file))
    }

    fn redacted(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return redacted_options(&self.0);
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        // A password that should have been percent-encoded can hold a slash; then the end of it is
        // the last @ of all.
        let at =
            rest.get(..end).and_then(|authority| authority.rfind('@')).or_else(|| rest.rfind('@'));
        let Some((user, server)) = at.map(|at| rest.split_at(at)) else {
            return format!("{scheme}://{}", redacted_options(rest));
        };
        let server = redacted_options(server);
        match user.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:***{server}"),
            None => format!("{scheme}://{user}{server}"),
        }
    }
}

/// A password can also stand among the options behind the question mark.
fn redacted_options(text: &str) -> String {
    let Some((address, options)) = text.split_once('?') else {
        return text.to_owned();
    };
    let options = options.split('&').map(|option| match option.split_once('=') {
        Some((name, _)) if name.to_lowercase().contains("password") => format!("{name}=***"),
        _ => option.to_owned(),
    });
    format!("{address}?{}", options.collect::<Vec<_>>().join("&"))
}

impl FromStr for DatabaseUrl {
    type Err = Infallible;

    /// Takes every text: the error of a flag would repeat it, password included.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl serde::Serialize for DatabaseUrl {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map(Self)
            .map_err(|_| "must be a network such as 10.0.0.0/8, or an address".to_owned())
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Checks the address of a standby, which only PostgreSQL has.
pub(super) fn standby(url: Option<&DatabaseUrl>, of: &DatabaseUrl) -> Result<(), String> {
    let schemes = ["postgres://", "postgresql://"];
    let is_postgres = |url: &DatabaseUrl| schemes.iter().any(|scheme| url.0.starts_with(scheme));
    match url {
        Some(_) if !is_postgres(of) => {
            Err("must be left out where database_url is SQLite, which has no standby".to_owned())
        }
        Some(url) if !is_postgres(url) => {
            Err("must start with postgres://, as database_url does".to_owned())
        }
        _ => Ok(()),
    }
}

/// Checks the public address; what comes back has no slash at its end.
pub(super) fn public_url(text: &str) -> Result<String, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let scheme = scheme.to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err(format!(
            "\"{text}\" must start with https:// (or http://), as https://people.example.com"
        ));
    }
    let address = rest.strip_suffix('/').unwrap_or(rest);
    if address.contains(['/', '?', '#']) {
        return Err(format!(
            "\"{text}\" must end behind the host: scimd adds the path /scim/v2 itself"
        ));
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !address.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    };
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return Err(format!("\"{text}\" has a port that is not a number from 1 to 65535"));
    }
    if host.contains('_') {
        return Err(format!(
            "\"{text}\" has an underscore in the host, which Okta refuses: use another host name"
        ));
    }
    if !is_host(host) {
        return Err(format!("\"{text}\" does not have a host name such as people.example.com"));
    }
    Ok(format!("{scheme}://{}", address.to_ascii_lowercase()))
}

fn is_host(text: &str) -> bool {
    if let Some(ip) = text.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')) {
        return ip.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_printed() {
        let cases = [
            ("sqlite://scimd-data/scimd.db", "sqlite://scimd-data/scimd.db"),
            ("postgres://scimd@db/people", "postgres://scimd@db/people"),
            ("postgres://scimd:geheim@db:5432/people", "postgres://scimd:***@db:5432/people"),
            ("postgres://scimd:ge@heim@db/people", "postgres://scimd:***@db/people"),
            ("postgres://scimd:ge/heim@db/people", "postgres://scimd:***@db/people"),
            ("postgres://scimd:ge?heim@db/people", "postgres://scimd:***@db/people"),
            (
                "postgres://db/people?user=a&password=geheim&sslmode=require",
                "postgres://db/people?user=a&password=***&sslmode=require",
            ),
        ];
        for (url, printed) in cases {
            let url: DatabaseUrl = url.parse().unwrap();
            assert_eq!(url.to_string(), printed);
            assert_eq!(format!("{url:?}"), printed);
        }
    }

    #[test]
    fn a_standby_is_one_of_postgresql() {
        let url = |text: &str| text.parse::<DatabaseUrl>().unwrap();
        let (sqlite, postgres) =
            (url("sqlite://scimd.db"), url("postgres://scimd:geheim@db/people"));
        assert_eq!(standby(None, &sqlite), Ok(()));
        assert_eq!(standby(Some(&postgres), &postgres), Ok(()));
        let half = url("postgres:scimd:geheim@db/people");
        for (read, of) in [(&postgres, &sqlite), (&sqlite, &postgres), (&half, &postgres)] {
            let error = standby(Some(read), of).unwrap_err();
            assert!(error.contains("must") && !error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn the_database_of_a_folder_is_a_file_in_it() {
        for folder in ["scimd-data", "/var/lib/scimd", "50%3F?"] {
            let url = DatabaseUrl::in_folder(Path::new(folder)).unwrap();
            assert_eq!(url.file(), Some(Path::new(folder).join("scimd.db")));
        }
    }

    #[test]
    fn a_database_is_a_file_without_options_or_postgresql() {
        let checked = |text: &str| text.parse::<DatabaseUrl>().unwrap().check();
        assert_eq!(checked("sqlite://data/scimd.db"), Ok(()));
        assert_eq!(checked("postgres://db/people?sslmode=require"), Ok(()));
        let bad = [
            ("mysql://db/people", "must start with"),
            ("sqlite::memory:", "must name a file"),
            ("sqlite://data/scimd.db?mode=memory", "question mark"),
        ];
        for (url, reason) in bad {
            let error = checked(url).unwrap_err();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }

    #[test]
    fn a_public_address_is_a_scheme_and_a_host() {
        let good = [
            ("https://people.example.com", "https://people.example.com"),
            ("HTTPS://People.example.com/", "https://people.example.com"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[::1]", "http://[::1]"),
        ];
        for (text, url) in good {
            assert_eq!(public_url(text).as_deref(), Ok(url));
        }
        let bad = [
            ("people.example.com", "must start with https://"),
            ("ftp://people.example.com", "must start with https://"),
            ("https://people.example.com/scim", "behind the host"),
            ("https://people.example.com//", "behind the host"),
            ("https://my_host.example.com", "underscore"),
            ("https://", "host name"),
            ("https://a b", "host name"),
            ("https://user@host", "host name"),
            ("https://host:0", "port"),
            ("https://host:", "port"),
            ("https://-a.example", "host name"),
        ];
        for (text, reason) in bad {
            let error = public_url(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
