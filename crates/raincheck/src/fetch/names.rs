//! The addresses of hosts: looked up once for all who ask at the same time, and then known for a while.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::FetchError;

/// So long are addresses known. What the system says has lived a part of its own time already.
const KNOWN: Duration = Duration::from_secs(60);

/// So long does a name have no address. A resolver that fails now may answer soon.
const UNKNOWN: Duration = Duration::from_secs(3);

/// How many are kept; with more, all are forgotten that nobody asks for just now.
const NAMES_AT_MOST: usize = 4096;

const NOT_POISONED: &str = "nothing that can panic is done under the lock of the names";

/// The addresses of hosts.
pub(super) struct Names {
    given: HashMap<(String, u16), Vec<IpAddr>>,
    known: Mutex<HashMap<Box<str>, Arc<Name>>>,
    look_up: Box<LookUp>,
}

/// Whoever holds its lock looks it up; the others wait for that.
type Name = tokio::sync::Mutex<Option<Known>>;

type LookUp = dyn Fn(&str) -> LookingUp + Send + Sync;
type LookingUp = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

struct Known {
    /// Or why there are none.
    addresses: Result<Vec<IpAddr>, String>,
    until: Instant,
}

impl Names {
    /// Has the system look names up, but for those that are given with their port.
    pub(super) fn new(given: HashMap<(String, u16), Vec<IpAddr>>) -> Self {
        Self::looked_up_by(given, |host| {
            let host = host.to_owned();
            Box::pin(async move {
                let found = tokio::net::lookup_host((host, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        })
    }

    fn looked_up_by(
        given: HashMap<(String, u16), Vec<IpAddr>>,
        look_up: impl Fn(&str) -> LookingUp + Send + Sync + 'static,
    ) -> Self {
        Self { given, known: Mutex::default(), look_up: Box::new(look_up) }
    }

    /// The addresses of a host of a URL, in the order in which to try them; never none.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, FetchError> {
        let at_port = |addresses: &[IpAddr]| addresses.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
        if !self.given.is_empty()
            && let Some(given) = self.given.get(&(host.to_owned(), port))
        {
            return Ok(at_port(given));
        }
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(at_port(&[address]));
        }
        let name = self.name(host);
        let mut known = name.lock().await;
        if known.as_ref().is_none_or(|known| known.until <= Instant::now()) {
            let addresses = match (self.look_up)(host).await {
                Ok(found) if found.is_empty() => Err("it has none".into()),
                Ok(found) => Ok(by_turns(found)),
                Err(error) => Err(error.to_string()),
            };
            let until = Instant::now() + if addresses.is_ok() { KNOWN } else { UNKNOWN };
            *known = Some(Known { addresses, until });
        }
        match known.as_ref().map(|known| &known.addresses) {
            Some(Ok(addresses)) => Ok(at_port(addresses)),
            Some(Err(reason)) => Err(FetchError::Unresolved { host: host.to_owned(), reason: reason.clone() }),
            None => unreachable!("it has just been looked up"),
        }
    }

    fn name(&self, host: &str) -> Arc<Name> {
        let mut known = self.known.lock().expect(NOT_POISONED);
        if let Some(name) = known.get(host) {
            return Arc::clone(name);
        }
        if known.len() == NAMES_AT_MOST {
            known.retain(|_, name| Arc::strong_count(name) > 1);
        }
        Arc::clone(known.entry(host.into()).or_default())
    }
}

/// One of each kind by turns, so that a broken IPv6 costs a moment and not the download.
fn by_turns(found: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut six, mut four): (Vec<_>, Vec<_>) = found.into_iter().partition(IpAddr::is_ipv6);
    six.reverse();
    four.reverse();
    let mut addresses = Vec::new();
    while six.len() + four.len() > 0 {
        addresses.extend(six.pop());
        addresses.extend(four.pop());
    }
    addresses
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("given", &self.given).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    /// More look-ups than there are to be: one too many is counted, and does not wait for ever.
    const ENOUGH: usize = 100;

    /// Names whose every look-up is counted, and waits for a permit.
    fn counted(
        answer: impl Fn() -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> (Arc<Names>, Arc<AtomicUsize>, Arc<Semaphore>) {
        let (count, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (counter, waits, answer) = (Arc::clone(&count), Arc::clone(&gate), Arc::new(answer));
        let names = Names::looked_up_by(HashMap::new(), move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            let (gate, answer) = (Arc::clone(&waits), Arc::clone(&answer));
            Box::pin(async move {
                gate.acquire().await.unwrap().forget();
                answer()
            })
        });
        (Arc::new(names), count, gate)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_is_looked_up_once_for_all_who_ask() {
        let (names, count, gate) = counted(|| Ok(vec![ip("10.0.0.1")]));

        run(async {
            let asking: Vec<_> = (0..20)
                .map(|n| {
                    let names = Arc::clone(&names);
                    tokio::spawn(async move { names.resolve("h.example", n).await })
                })
                .collect();
            tokio::task::yield_now().await;
            gate.add_permits(ENOUGH);
            for (n, asked) in asking.into_iter().enumerate() {
                assert_eq!(asked.await.unwrap(), Ok(vec![format!("10.0.0.1:{n}").parse().unwrap()]));
            }
            names.resolve("h.example", 80).await.unwrap();
        });

        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn whoever_gives_up_leaves_the_looking_up_to_the_next() {
        let (names, count, gate) = counted(|| Ok(vec![ip("10.0.0.1")]));

        run(async {
            let first = tokio::spawn({
                let names = Arc::clone(&names);
                async move { names.resolve("h.example", 80).await }
            });
            tokio::task::yield_now().await;
            first.abort();
            assert!(first.await.unwrap_err().is_cancelled());
            gate.add_permits(1);
            names.resolve("h.example", 80).await.unwrap();
        });

        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn what_is_known_is_forgotten_in_time_and_failures_sooner() {
        let (names, count, gate) = counted(|| Err(io::Error::other("no such name")));
        gate.add_permits(ENOUGH);

        run(async {
            for _ in 0..3 {
                let error = names.resolve("h.example", 80).await.unwrap_err();
                assert_eq!(error.to_string(), "no address for `h.example`: no such name");
            }
            assert_eq!(count.load(Ordering::SeqCst), 1);
            let name = names.name("h.example");
            let mut known = name.lock().await;
            let left = known.as_ref().unwrap().until - Instant::now();
            assert!(left <= UNKNOWN, "{left:?}");
            known.as_mut().unwrap().until = Instant::now();
            drop(known);
            names.resolve("h.example", 80).await.unwrap_err();
        });

        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn addresses_come_by_turns_and_are_not_looked_up_themselves() {
        let (names, count, gate) = counted(|| Ok(["10.0.0.1", "10.0.0.2", "::1", "10.0.0.3"].map(ip).to_vec()));
        gate.add_permits(ENOUGH);

        let (found, itself, nothing) = run(async {
            (names.resolve("h", 1).await.unwrap(), names.resolve("[::1]", 2).await.unwrap(), counted_none().await)
        });

        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["[::1]:1", "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]);
        assert_eq!(itself, ["[::1]:2".parse().unwrap()]);
        assert_eq!(nothing.unwrap_err().to_string(), "no address for `h`: it has none");
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    async fn counted_none() -> Result<Vec<SocketAddr>, FetchError> {
        let (names, _, gate) = counted(|| Ok(vec![]));
        gate.add_permits(1);
        names.resolve("h", 1).await
    }

    #[test]
    fn not_every_name_is_kept() {
        let (names, _, gate) = counted(|| Ok(vec![ip("10.0.0.1")]));
        gate.add_permits(NAMES_AT_MOST + 10);

        run(async {
            for n in 0..NAMES_AT_MOST + 10 {
                names.resolve(&format!("h{n}"), 80).await.unwrap();
            }
        });

        assert!(names.known.lock().unwrap().len() <= NAMES_AT_MOST);
    }
}
