//! What a line of a log says about a request.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A thing that is told of each request, and that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
pub(crate) enum Field {
    /// Who asked: the address or name of the client
    #[value(name = "hosts", aliases = ["host", "ip", "ips", "clients", "client"])]
    Host,
    /// What was asked for, without what follows a `?`
    #[value(name = "paths", alias = "path")]
    Path,
    /// What was asked for, all of it
    #[value(name = "urls", aliases = ["url", "uri", "uris"])]
    Url,
    /// The status of the answer, as in 404
    #[value(name = "statuses", aliases = ["status", "codes", "code"])]
    Status,
    /// The page that led there
    #[value(name = "referrers", aliases = ["referrer", "referer", "referers"])]
    Referrer,
    /// The browser or robot, in its own words
    #[value(name = "agents", aliases = ["agent", "user-agent", "user-agents"])]
    Agent,
    /// GET, POST and so on
    #[value(name = "methods", alias = "method")]
    Method,
    /// As in HTTP/1.1
    #[value(name = "protocols", alias = "protocol")]
    Protocol,
    /// Who had logged in
    #[value(name = "users", alias = "user")]
    User,
    /// The site that was asked, where one log has many
    #[value(name = "sites", aliases = ["site", "vhost", "vhosts"])]
    Site,
}

impl Field {
    pub(crate) const ALL: [Self; 10] = [
        Self::Host,
        Self::Path,
        Self::Url,
        Self::Status,
        Self::Referrer,
        Self::Agent,
        Self::Method,
        Self::Protocol,
        Self::User,
        Self::Site,
    ];

    /// The word for one of them.
    pub(crate) fn one(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Path => "path",
            Self::Url => "url",
            Self::Status => "status",
            Self::Referrer => "referrer",
            Self::Agent => "agent",
            Self::Method => "method",
            Self::Protocol => "protocol",
            Self::User => "user",
            Self::Site => "site",
        }
    }

    /// The word for many of them.
    pub(crate) fn many(self) -> &'static str {
        match self {
            Self::Host => "hosts",
            Self::Path => "paths",
            Self::Url => "urls",
            Self::Status => "statuses",
            Self::Referrer => "referrers",
            Self::Agent => "agents",
            Self::Method => "methods",
            Self::Protocol => "protocols",
            Self::User => "users",
            Self::Site => "sites",
        }
    }
}
