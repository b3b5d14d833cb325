//! TLS on the API: a certificate from files that are read again when they change, or one of the CDN's own authority.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use skerry_agent::reload::Watched;
use skerry_config::process::{self, ApiTls};
use skerry_transport::certificates::Certificates;
use skerry_transport::tls;
use tokio::sync::watch;

use crate::plane::Plane;

/// How often the CDN's own authority issues a new certificate.
const REISSUE_INTERVAL: Duration = Duration::from_secs(86_400);

/// TLS for the API, and what keeps its certificate new until stopped.
pub(crate) struct Secured {
    /// For the listener.
    pub(crate) config: Arc<ServerConfig>,
    renewal: Renewal,
}

enum Renewal {
    Files(Watched, Arc<Certificates>, process::Tls),
    Issued(Arc<Plane>, Vec<String>, Arc<Issued>),
}

impl Secured {
    /// Reads the files, or has a certificate issued for `names` and the addresses of the listeners.
    pub(crate) fn new(settings: &ApiTls, names: &[String], addresses: &[SocketAddr], plane: &Arc<Plane>) -> Result<Self, String> {
        if let (Some(cert), Some(key)) = (&settings.cert, &settings.key) {
            return Self::of_files(cert.clone(), key.clone());
        }
        let mut names = names.to_vec();
        names.extend(addresses.iter().map(|address| address.ip()).filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string()));
        names.push("localhost".to_owned());
        let issued = Arc::new(Issued(ArcSwap::from_pointee(issue(plane, &names)?)));
        let config = tls::for_clients(Arc::clone(&issued) as Arc<dyn ResolvesServerCert>)?;
        Ok(Self { config, renewal: Renewal::Issued(Arc::clone(plane), names, issued) })
    }

    fn of_files(cert: PathBuf, key: PathBuf) -> Result<Self, String> {
        let watched = Watched::new(vec![cert.clone(), key.clone()]);
        let settings = process::Tls { certificates: vec![process::Certificate { cert, key }], issuer: None };
        let certificates = Arc::new(Certificates::load(&settings, Vec::new(), Box::new(|_| false))?);
        let config = tls::for_clients(Arc::clone(&certificates) as Arc<dyn ResolvesServerCert>)?;
        Ok(Self { config, renewal: Renewal::Files(watched, certificates, settings) })
    }

    /// Keeps the certificate new until stopped.
    pub(crate) async fn keep(self, stop: watch::Receiver<bool>) {
        match self.renewal {
            Renewal::Files(watched, certificates, settings) => {
                watched.follow("certificate of the API", move || certificates.reload(&settings), stop).await;
            }
            Renewal::Issued(plane, names, issued) => loop {
                tokio::select! {
                    () = tokio::time::sleep(REISSUE_INTERVAL) => {}
                    () = skerry_agent::stopped(stop.clone()) => return,
                }
                match issue(&plane, &names) {
                    Ok(key) => issued.0.store(Arc::new(key)),
                    Err(error) => tracing::error!(error, "no new certificate for the API; the one before stays"),
                }
            },
        }
    }
}

fn issue(plane: &Plane, names: &[String]) -> Result<CertifiedKey, String> {
    let (chain, key) = plane.ca.own(names)?;
    let key =
        rustls::crypto::ring::sign::any_supported_type(&key).map_err(|error| format!("the key of the API cannot be used: {error}"))?;
    Ok(CertifiedKey::new(chain, key))
}

/// One certificate, whatever name is asked for.
#[derive(Debug)]
struct Issued(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Issued {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}
