//! Where a connection leads: which requests it can serve.

use std::sync::Arc;

use super::Proxy;

/// Where a connection leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route<'a> {
    /// By TLS.
    pub(super) secure: bool,
    /// As in the URL: an IPv6 address in brackets.
    pub(super) host: &'a str,
    pub(super) port: u16,
    /// Through which proxy, if it passes bytes on.
    pub(super) proxy: Option<&'a Arc<Proxy>>,
}

/// The same, kept by the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnedRoute {
    secure: bool,
    host: Box<str>,
    port: u16,
    proxy: Option<Arc<Proxy>>,
}

impl OwnedRoute {
    pub(super) fn as_route(&self) -> Route<'_> {
        Route { secure: self.secure, host: &self.host, port: self.port, proxy: self.proxy.as_ref() }
    }
}

impl From<Route<'_>> for OwnedRoute {
    fn from(route: Route<'_>) -> Self {
        Self { secure: route.secure, host: route.host.into(), port: route.port, proxy: route.proxy.cloned() }
    }
}

impl PartialEq<Route<'_>> for OwnedRoute {
    fn eq(&self, route: &Route<'_>) -> bool {
        self.as_route() == *route
    }
}
