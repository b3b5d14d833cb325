//! Trading a one-time token for a certificate.

use std::time::Duration;

use tonic::Code;

use crate::connect::{self, Failure};
use crate::follow::Backoff;
use crate::identity::{self, Identity};
use crate::token::JoinToken;
use crate::wire::{JoinRequest, NodeRole, control_client::ControlClient};
use crate::{Role, Settings};

/// Time allowed for the call.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Joins; tries again as long as the control plane cannot be reached.
pub(crate) async fn join(settings: &Settings) -> Result<Identity, String> {
    let data = &settings.data;
    let text = settings.control.join_token.as_deref().ok_or_else(|| {
        format!(
            "there is no certificate in {} and no join token in control.join_token; make one with \"skerry node token create\"",
            data.display()
        )
    })?;
    let token = JoinToken::decode(text)?;
    let key = identity::key_pair(data)?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let csr = params.serialize_request(&key).map_err(|error| format!("cannot make a certificate request: {error}"))?;
    let request = JoinRequest {
        token: text.trim().to_owned(),
        name: settings.name.clone(),
        role: NodeRole::from(settings.role).into(),
        csr: csr.der().to_vec().into(),
    };
    let mut backoff = Backoff::default();
    loop {
        match attempt(settings, &token, request.clone()).await {
            Ok((certificate, ca)) => {
                let identity = Identity { certificate, key: key.serialize_der(), ca };
                identity::keep(data, &identity)?;
                tracing::info!(name = settings.name, role = Role::word(settings.role), "joined");
                return Ok(identity);
            }
            Err(Failure::Untrusted(why)) => return Err(why),
            Err(Failure::Unreachable(why)) => {
                tracing::warn!(control = settings.control.address, why, "cannot join yet, trying again");
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}

async fn attempt(settings: &Settings, token: &JoinToken, request: JoinRequest) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let address = &settings.control.address;
    let tls = connect::pinned(token.ca_digest).map_err(Failure::Untrusted)?;
    let channel = connect::channel(address, tls).await?;
    let call = tokio::time::timeout(JOIN_TIMEOUT, async { ControlClient::new(channel).join(request).await });
    let reply = match call.await {
        Ok(Ok(reply)) => reply.into_inner(),
        Ok(Err(status)) if temporary(status.code()) => return Err(Failure::Unreachable(status.message().to_owned())),
        Ok(Err(status)) => {
            return Err(Failure::Untrusted(format!(
                "the control plane at {address} refused to let {:?} join: {}",
                settings.name,
                status.message()
            )));
        }
        Err(_) => return Err(Failure::Unreachable(format!("no answer to the join from {address} within {} s", JOIN_TIMEOUT.as_secs()))),
    };
    if identity::owner(&reply.certificate) != Some((settings.role, settings.name.clone())) {
        return Err(Failure::Untrusted(format!("the control plane at {address} issued a certificate for another node")));
    }
    Ok((reply.certificate.to_vec(), reply.ca.to_vec()))
}

/// Whether a call that failed so may work later.
fn temporary(code: Code) -> bool {
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted | Code::Cancelled | Code::Unknown)
}
