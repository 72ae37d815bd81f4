//! Projections through the wire: the system projections run, stop and run again; those of users are
//! refused and said to be.
#![cfg(feature = "grpc")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod grpc_client;

use grpc_client::Served;
use grpc_client::v1::Empty;
use grpc_client::v1::projections::projections_client::ProjectionsClient;
use grpc_client::v1::projections::statistics_req::options::Mode;
use grpc_client::v1::projections::statistics_resp::Details;
use grpc_client::v1::projections::*;
use prost_types::value::Kind;
use tonic::transport::Channel;
use tonic::{Code, Status};

const ALL: [&str; 5] = [
    "$by_category",
    "$by_correlation_id",
    "$by_event_type",
    "$stream_by_category",
    "$streams",
];

struct Projections(ProjectionsClient<Channel>);

impl Projections {
    fn of(node: &Served) -> Self {
        Self(ProjectionsClient::new(node.channel()))
    }

    async fn statistics(&mut self, mode: Mode) -> Result<Vec<Details>, Status> {
        let options = Some(statistics_req::Options { mode: Some(mode) });
        let told = self.0.statistics(StatisticsReq { options }).await?;
        let mut told = told.into_inner();
        let mut found = Vec::new();
        while let Some(message) = told.message().await? {
            found.push(message.details.unwrap());
        }
        Ok(found)
    }

    async fn one(&mut self, name: &str) -> Result<Details, Status> {
        let found = self.statistics(Mode::Name(name.to_owned())).await?;
        let [details] = <[Details; 1]>::try_from(found).unwrap();
        Ok(details)
    }

    async fn disable(&mut self, name: &str, write_checkpoint: bool) -> Result<(), Status> {
        let options = disable_req::Options {
            name: name.to_owned(),
            write_checkpoint,
        };
        let options = Some(options);
        self.0.disable(DisableReq { options }).await.map(drop)
    }

    async fn enable(&mut self, name: &str) -> Result<(), Status> {
        let name = name.to_owned();
        let options = Some(enable_req::Options { name });
        self.0.enable(EnableReq { options }).await.map(drop)
    }
}

#[tokio::test]
async fn all_five_run_and_are_at_the_end() {
    let node = Served::start().await;
    let end = node.fill("order-1", 3).await;
    let mut projections = Projections::of(&node);
    for mode in [Mode::All(Empty {}), Mode::Continuous(Empty {})] {
        let told = projections.statistics(mode).await.unwrap();
        let names: Vec<&str> = told.iter().map(|details| &*details.name).collect();
        assert_eq!(names, ALL);
        for details in told {
            assert_eq!(details.status, "Running");
            assert_eq!(details.mode, "Continuous");
            assert_eq!(details.effective_name, details.name);
            assert_eq!(details.position, format!("C:{end}/P:{end}"));
            assert_eq!(details.progress, 100.0);
        }
    }
    for mode in [Mode::Transient(Empty {}), Mode::OneTime(Empty {})] {
        assert_eq!(projections.statistics(mode).await.unwrap(), []);
    }
}

#[tokio::test]
async fn one_that_is_stopped_stays_where_it_was_until_it_runs_again() {
    let node = Served::start().await;
    let end = node.fill("order-1", 1).await;
    let mut projections = Projections::of(&node);
    projections.disable("$by_category", true).await.unwrap();
    node.fill("order-1", 1).await;
    let stopped = projections.one("$by_category").await.unwrap();
    assert_eq!(stopped.status, "Stopped");
    assert_eq!(stopped.position, format!("C:{end}/P:{end}"));
    assert_eq!(stopped.progress, 50.0);
    projections.disable("$by_category", false).await.unwrap();
    let aborted = projections.one("$by_category").await.unwrap();
    assert_eq!(aborted.status, "Aborted");
    projections.enable("$by_category").await.unwrap();
    projections.enable("$by_category").await.unwrap();
    let running = projections.one("$by_category").await.unwrap();
    assert_eq!((&*running.status, running.progress), ("Running", 100.0));
}

#[tokio::test]
async fn they_have_no_state_and_cannot_be_changed_or_deleted() {
    let node = Served::start().await;
    let mut projections = Projections::of(&node);
    let name = "$streams".to_owned();
    let options = Some(state_req::Options {
        name: name.clone(),
        partition: String::new(),
    });
    let state = projections.0.state(StateReq { options }).await.unwrap();
    let state = state.into_inner().state.unwrap().kind.unwrap();
    assert!(matches!(state, Kind::StructValue(of) if of.fields.is_empty()));
    let options = Some(reset_req::Options {
        name: name.clone(),
        write_checkpoint: true,
    });
    projections.0.reset(ResetReq { options }).await.unwrap();
    let options = Some(delete_req::Options {
        name: name.clone(),
        ..Default::default()
    });
    let refused = projections.0.delete(DeleteReq { options }).await;
    assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
    let options = Some(update_req::Options {
        name,
        ..Default::default()
    });
    let refused = projections.0.update(UpdateReq { options }).await;
    assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
    projections.0.restart_subsystem(Empty {}).await.unwrap();
}

#[tokio::test]
async fn an_unknown_one_is_not_found_and_one_of_a_user_is_refused() {
    let node = Served::start().await;
    let mut projections = Projections::of(&node);
    let missing = projections.one("totals").await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    assert_eq!(missing.message(), "Projection 'totals' not found");
    let missing = projections.enable("totals").await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let missing = projections.disable("totals", true).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let continuous = |name: &str| create_req::options::Continuous {
        name: name.to_owned(),
        ..Default::default()
    };
    let create = |name: &str| CreateReq {
        options: Some(create_req::Options {
            query: "fromAll().when({})".to_owned(),
            mode: Some(create_req::options::Mode::Continuous(continuous(name))),
            ..Default::default()
        }),
    };
    let refused = projections.0.create(create("totals")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("JavaScript"), "{refused}");
    let exists = projections.0.create(create("$streams")).await.unwrap_err();
    assert_eq!(exists.code(), Code::AlreadyExists);
}
