//! `Monitoring`: what the server measures, again and again until the client has enough.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::grpc::wire::event_store::client::monitoring as wire;
use crate::grpc::{Shared, status};
use wire::monitoring_server;

/// How often at most, and at least, a client is told.
const PERIODS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3_600));

/// The service.
#[derive(Debug)]
pub(in crate::grpc) struct Monitoring {
    pub(in crate::grpc) shared: Shared,
}

#[tonic::async_trait]
impl monitoring_server::Monitoring for Monitoring {
    type StatsStream = ReceiverStream<Result<wire::StatsResp, Status>>;

    async fn stats(
        &self,
        request: Request<wire::StatsReq>,
    ) -> Result<Response<Self::StatsStream>, Status> {
        let shared = self.shared.clone();
        // Whoever he is, but not if he only pretends to be.
        shared.caller(&request).await?;
        let period = Duration::from_millis(request.into_inner().refresh_time_period_in_ms);
        let period = period.clamp(PERIODS.0, PERIODS.1);
        let (sender, told) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let asked = shared.clone();
                let told = shared.blocking(move || stats(&asked)).await;
                if sender.send(told).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = sleep(period) => {}
                    () = sender.closed() => return,
                    () = shared.stopping.cancelled() => {
                        let _gone = sender.send(Err(status::not_ready())).await;
                        return;
                    }
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(told)))
    }
}

fn stats(shared: &Shared) -> wire::StatsResp {
    let stats = shared.figures().into_iter();
    wire::StatsResp {
        stats: stats.map(|(key, value)| (key.to_owned(), value)).collect(),
    }
}
