//! What the server tells about itself through the wire: who leads, what it can do, that it lives.
#![cfg(feature = "grpc")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod grpc_client;

use std::collections::BTreeSet;

use grpc_client::Served;
use grpc_client::v1::Empty;
use grpc_client::v1::gossip::gossip_client::GossipClient;
use grpc_client::v1::gossip::member_info::VNodeState;
use grpc_client::v1::monitoring::StatsReq;
use grpc_client::v1::monitoring::monitoring_client::MonitoringClient;
use grpc_client::v1::operations::operations_client::OperationsClient;
use grpc_client::v1::server_features::server_features_client::ServerFeaturesClient;
use prost_types::FileDescriptorSet;
use serde_json::Value;
use tonic::Code;

fn descriptors() -> FileDescriptorSet {
    let bytes = include_bytes!(concat!(env!("OUT_DIR"), "/client/descriptors.bin"));
    prost::Message::decode(&bytes[..]).unwrap()
}

#[tokio::test]
async fn the_one_member_leads_at_the_address_that_the_client_dialed() {
    let node = Served::start().await;
    let mut gossip = GossipClient::new(node.channel());
    let members = gossip.read(Empty {}).await.unwrap().into_inner().members;
    let [member] = &members[..] else {
        panic!("{members:?}");
    };
    assert_eq!(member.state(), VNodeState::Leader);
    assert!(member.is_alive);
    let endpoint = member.http_end_point.clone().unwrap();
    assert_eq!(endpoint.address, "127.0.0.1");
    assert_eq!(endpoint.port, u32::from(node.address.port()));
}

/// Every method that is advertised is served, and the other way round.
#[tokio::test]
async fn the_features_are_those_that_the_server_has() {
    let node = Served::start().await;
    let mut features = ServerFeaturesClient::new(node.channel());
    let told = features.get_supported_methods(Empty {}).await.unwrap();
    let told = told.into_inner();
    let version = told.event_store_server_version.split('.');
    let version: Vec<u32> = version.map(|part| part.parse().unwrap()).collect();
    assert_eq!(version, [26, 1, 0]);
    let advertised: BTreeSet<(String, String)> = told
        .methods
        .into_iter()
        .map(|method| (method.service_name, method.method_name))
        .collect();
    let mut served = BTreeSet::new();
    for file in descriptors().file {
        for service in &file.service {
            let name = format!("{}.{}", file.package(), service.name()).to_lowercase();
            let methods = service.method.iter();
            served.extend(methods.map(|method| (name.clone(), method.name().to_lowercase())));
        }
    }
    assert_eq!(advertised, served);
}

#[tokio::test]
async fn health_and_ping_answer_whoever_asks() {
    let node = Served::start().await;
    assert_eq!(node.http("GET /health/live").await.0, 204);
    assert_eq!(node.http("GET /health/live?liveCode=200").await.0, 200);
    assert_eq!(node.http("GET /health/live?liveCode=503").await.0, 204);
    let (status, text) = node.http("GET /ping").await;
    assert_eq!((status, &*text), (200, "Ping request successfully handled"));
    assert_eq!(node.http("GET /").await.0, 200);
    assert_eq!(node.http("GET /nothing").await.0, 404);
}

#[tokio::test]
async fn info_and_gossip_hold_what_parsers_insist_on() {
    let node = Served::start().await;
    let (status, info) = node.http("GET /info").await;
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!((status, &info["state"]), (200, &Value::from("leader")));
    let (status, gossip) = node.http("GET /gossip").await;
    let gossip: Value = serde_json::from_str(&gossip).unwrap();
    assert_eq!(status, 200);
    let member = &gossip["members"][0];
    for text in ["internalTcpIp", "externalTcpIp", "httpEndPointIp"] {
        assert_eq!(member[text], "127.0.0.1", "{text}");
    }
    for number in [
        "internalTcpPort",
        "internalSecureTcpPort",
        "externalSecureTcpPort",
        "lastCommitPosition",
        "writerCheckpoint",
        "chaserCheckpoint",
        "epochPosition",
        "epochNumber",
        "nodePriority",
    ] {
        assert!(member[number].is_u64(), "{number}");
    }
    assert_eq!(member["httpEndPointPort"], node.address.port());
    assert_eq!(member["state"], "Leader");
    for id in ["instanceId", "epochId"] {
        let id = member[id].as_str().unwrap();
        assert!(uuid::Uuid::try_parse(id).is_ok());
    }
    let time: annal::Timestamp = member["timeStamp"].as_str().unwrap().parse().unwrap();
    assert!(time.seconds() > 0);
}

#[tokio::test]
async fn figures_come_again_and_again_and_the_first_at_once() {
    let node = Served::start().await;
    let mut monitoring = MonitoringClient::new(node.channel());
    let asked = StatsReq {
        use_metadata: false,
        refresh_time_period_in_ms: 100,
    };
    let mut told = monitoring.stats(asked).await.unwrap().into_inner();
    let first = told.message().await.unwrap().unwrap();
    assert_eq!(first.stats["annal-end"], "0");
    node.fill("order-1", 3).await;
    while told.message().await.unwrap().unwrap().stats["annal-end"] != "3" {}
    let (status, stats) = node.http("GET /stats").await;
    let stats: Value = serde_json::from_str(&stats).unwrap();
    assert_eq!((status, &stats["annal"]["end"]), (200, &Value::from(3)));
    assert!(stats["proc"]["id"].is_u64());
}

/// Also while somebody listens who would never go by himself.
#[tokio::test]
async fn a_shutdown_ends_the_server_and_what_runs_on_it() {
    let node = Served::start().await;
    let mut monitoring = MonitoringClient::new(node.channel());
    let asked = StatsReq {
        use_metadata: false,
        refresh_time_period_in_ms: 3_600_000,
    };
    let mut told = monitoring.stats(asked).await.unwrap().into_inner();
    told.message().await.unwrap().unwrap();
    let mut operations = OperationsClient::new(node.channel());
    operations.shutdown(Empty {}).await.unwrap();
    let ended = told.message().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    drop((told, monitoring, operations));
    node.ended().await;
}

#[tokio::test]
async fn what_one_node_cannot_do_it_hears_and_goes_on() {
    let node = Served::start().await;
    let mut operations = OperationsClient::new(node.channel());
    operations.merge_indexes(Empty {}).await.unwrap();
    operations.resign_node(Empty {}).await.unwrap();
    let priority = grpc_client::v1::operations::SetNodePriorityReq { priority: 5 };
    operations.set_node_priority(priority).await.unwrap();
    node.fill("order-1", 1).await;
}

#[tokio::test]
async fn a_scavenge_is_begun_and_stopped_by_its_id() {
    use grpc_client::v1::operations::scavenge_resp::ScavengeResult;
    use grpc_client::v1::operations::{ScavengeResp, stop_scavenge_req};
    use grpc_client::v1::operations::{StartScavengeReq, StopScavengeReq, start_scavenge_req};
    let node = Served::start().await;
    node.fill("order-1", 3).await;
    let mut operations = OperationsClient::new(node.channel());
    let from = |start_from_chunk| StartScavengeReq {
        options: Some(start_scavenge_req::Options {
            thread_count: 1,
            start_from_chunk,
        }),
    };
    let begun: ScavengeResp = operations
        .start_scavenge(from(0))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(begun.scavenge_result(), ScavengeResult::Started);
    let stop = |scavenge_id: &str| StopScavengeReq {
        options: Some(stop_scavenge_req::Options {
            scavenge_id: scavenge_id.into(),
        }),
    };
    // Whether it has ended by itself meanwhile or not.
    let stopped = operations.stop_scavenge(stop(&begun.scavenge_id)).await;
    let stopped = stopped.unwrap().into_inner();
    assert_eq!(stopped.scavenge_id, begun.scavenge_id);
    assert_eq!(stopped.scavenge_result(), ScavengeResult::Stopped);

    let unknown = operations.stop_scavenge(stop("no-such-id")).await;
    let unknown = unknown.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(
        unknown.metadata().get("exception").unwrap(),
        "scavenge-not-found"
    );
    assert_eq!(unknown.metadata().get("scavenge-id").unwrap(), "no-such-id");
    let negative = operations.start_scavenge(from(-1)).await.unwrap_err();
    assert_eq!(negative.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn calls_are_counted_by_method_and_status() {
    let node = Served::start().await;
    let mut gossip = GossipClient::new(node.channel());
    gossip.read(Empty {}).await.unwrap();
    let (status, text) = node.http("GET /metrics").await;
    assert_eq!(status, 200);
    let counted = "annal_calls_total{method=\"/event_store.client.gossip.Gossip/Read\",\
                   status=\"Ok\"} 1";
    assert!(text.contains(counted), "{text}");
    assert!(text.contains("annal_connections 2"), "{text}");
    assert!(text.contains("annal_store_end 0"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_store_and_its_groups_are_measured() {
    use grpc_client::group::{group, settings};
    let node = Served::start().await;
    node.fill("order-1", 3).await;
    let asked = group("order-1", "billing", None, settings());
    node.create_group(asked).await.unwrap();
    let mut member = node.join("order-1", "billing", 2).await.unwrap();
    member.take(2).await;
    let (_, text) = node.http("GET /metrics").await;
    for line in [
        "annal_appends_total",
        "annal_events_total 3",
        "annal_sync_seconds_bucket",
        "annal_batch_appends_count",
        "annal_group_members{stream=\"order-1\",group=\"billing\"} 1",
        "annal_group_in_flight{stream=\"order-1\",group=\"billing\"} 2",
        "annal_group_lag_events{stream=\"order-1\",group=\"billing\"} 3",
        "annal_subscriptions ",
        "annal_subscription_lag_events_max ",
        "annal_resident_bytes",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn what_nobody_serves_is_unimplemented_and_leaves_no_label() {
    let node = Served::start().await;
    let mut client = tonic::client::Grpc::new(node.channel());
    client.ready().await.unwrap();
    let path = "/event_store.client.gossip.Gossip/Nothing".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<Empty, Empty>::default();
    let refused = client.unary(tonic::Request::new(Empty {}), path, codec);
    assert_eq!(refused.await.unwrap_err().code(), Code::Unimplemented);
    let (_, text) = node.http("GET /metrics").await;
    assert!(!text.contains("Nothing"), "{text}");
}

#[tokio::test]
async fn what_a_caller_chooses_of_a_path_is_no_label() {
    let node = Served::start().await;
    let grpc = "content-type: application/grpc\r\n";
    node.http_with("GET /subscriptions/Nothing", grpc).await;
    let (_, text) = node.http("GET /metrics").await;
    assert!(!text.contains("Nothing"), "{text}");
}
