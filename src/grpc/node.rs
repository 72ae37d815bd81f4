//! This server as clients find it: one node, which leads, at the address that the client came to.
//!
//! Nobody is told an address that only means "anywhere": clients dial what they are told.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use tonic::{Request, Response, Status};

use super::Shared;
use super::auth::Wish;
use super::wire::event_store::client::gossip::member_info::VNodeState;
use super::wire::event_store::client::gossip::{ClusterInfo, EndPoint, MemberInfo, gossip_server};
use super::wire::event_store::client::{Empty, Uuid, uuid};
use crate::access::Call;
use crate::engine::Origin;

/// How a request came; an extension of each.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// Who connected.
    pub(super) peer: SocketAddr,
    /// What the store calls the connection.
    pub(super) origin: Origin,
    /// The address of this machine that took the connection.
    pub(super) local: SocketAddr,
    /// What the client takes the server's address for, in HTTP/2.
    pub(super) authority: Option<Authority>,
    /// The user whom the client's certificate names, if it showed one that is trusted.
    pub(super) certified: Option<Arc<str>>,
}

/// An address that whoever asked can dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Endpoint {
    /// What the client called the server, or else where its connection arrived.
    pub(super) fn of(arrival: Option<&Arrival>, headers: Option<&HeaderMap>) -> Self {
        let named = |headers: &HeaderMap| -> Option<Authority> {
            headers.get(header::HOST)?.to_str().ok()?.parse().ok()
        };
        let authority = arrival
            .and_then(|arrival| arrival.authority.clone())
            .or_else(|| headers.and_then(named));
        let local = arrival.map(|arrival| arrival.local);
        let port = local.map_or(2113, |local| local.port());
        if let Some(authority) = authority
            && !authority.host().is_empty()
            && !is_anywhere(authority.host())
        {
            return Self {
                host: authority.host().to_owned(),
                port: authority.port_u16().unwrap_or(port),
            };
        }
        let host = match local.map(|local| local.ip()) {
            Some(IpAddr::V4(ip)) if !ip.is_unspecified() => ip.to_string(),
            Some(IpAddr::V6(ip)) if !ip.is_unspecified() => format!("[{ip}]"),
            _ => "127.0.0.1".to_owned(),
        };
        Self { host, port }
    }
}

fn is_anywhere(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified())
}

/// `Gossip`: who belongs to the cluster.
#[derive(Debug)]
pub(super) struct Gossip {
    pub(super) shared: Shared,
}

#[tonic::async_trait]
impl gossip_server::Gossip for Gossip {
    async fn read(&self, request: Request<Empty>) -> Result<Response<ClusterInfo>, Status> {
        self.shared
            .admit(&request, Wish::Call(Call::Gossip))
            .await?;
        let Endpoint { host, port } = Endpoint::of(request.extensions().get(), None);
        let (most_significant_bits, least_significant_bits) =
            self.shared.store.id().0.as_u64_pair();
        let id = uuid::Structured {
            most_significant_bits: most_significant_bits.cast_signed(),
            least_significant_bits: least_significant_bits.cast_signed(),
        };
        let member = MemberInfo {
            instance_id: Some(Uuid {
                value: Some(uuid::Value::Structured(id)),
            }),
            time_stamp: self.shared.store.now_us().saturating_mul(10),
            state: VNodeState::Leader.into(),
            is_alive: true,
            http_end_point: Some(EndPoint {
                address: host,
                port: port.into(),
            }),
        };
        Ok(Response::new(ClusterInfo {
            members: vec![member],
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(local: &str, authority: Option<&str>) -> Arrival {
        Arrival {
            peer: "127.0.0.1:9".parse().expect("it is an address"),
            origin: Origin::UNNAMED,
            local: local.parse().expect("it is an address"),
            authority: authority.map(|text| text.parse().expect("it is an authority")),
            certified: None,
        }
    }

    #[test]
    fn a_client_is_told_what_it_dialed() {
        let told = |local, authority| {
            let Endpoint { host, port } = Endpoint::of(Some(&arrival(local, authority)), None);
            format!("{host}:{port}")
        };
        assert_eq!(told("127.0.0.1:2113", Some("localhost:9")), "localhost:9");
        assert_eq!(told("127.0.0.1:2113", Some("node")), "node:2113");
        assert_eq!(told("[::1]:2113", Some("[::1]:2113")), "[::1]:2113");
        assert_eq!(told("[::1]:2113", None), "[::1]:2113");
        assert_eq!(told("10.0.0.1:2113", Some("0.0.0.0:5")), "10.0.0.1:2113");
        assert_eq!(told("0.0.0.0:2113", Some("[::]:5")), "127.0.0.1:2113");
    }

    #[test]
    fn a_host_header_names_the_server_too() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "node:7".parse().expect("it is a value"));
        let endpoint = Endpoint::of(Some(&arrival("127.0.0.1:1", None)), Some(&headers));
        assert_eq!((&*endpoint.host, endpoint.port), ("node", 7));
    }
}
