//! PostgreSQL: a table with one row an event, unique by stream and version, and prepared statements
//! that a connection has under way together.
//!
//! A row of a version that is there already is refused by the table; that the version before is
//! there is looked at by the statement. Live readers are woken by a notification of the inserting
//! transaction.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Statement};

use super::{Each, Feed, Peer, Session};
use crate::payload::TYPE;
use crate::process;

const PAGE_EVENTS: i64 = 10_000;
const CHANNEL: &str = "events";

const TABLE: &str = "create table events (
    global_position bigint generated always as identity primary key,
    stream_id text not null, version bigint not null, type text not null, data bytea not null,
    created_at timestamptz not null default now(), unique (stream_id, version))";
const INSERT_FIRST: &str =
    "insert into events (stream_id, version, type, data) values ($1, 0, $2, $3)";
const INSERT_MANY: &str = "insert into events (stream_id, version, type, data)
    select $1, $2 + at - 1, $3, data from unnest($4::bytea[]) with ordinality as new (data, at)
    where $2 = 0 or exists (select from events where stream_id = $1 and version = $2 - 1)";
const INSERT_APART: &str = "insert into events (stream_id, version, type, data)
    select $1 || '-' || at, 0, $2, data from unnest($3::bytea[]) with ordinality as new (data, at)";
const INSERT_TELLING: &str = "with new as (insert into events (stream_id, version, type, data)
        values ($1, 0, $2, $3) returning global_position)
    select pg_notify('events', '') from new";
const READ_STREAM: &str =
    "select version, type, data, global_position, created_at::text from events
    where stream_id = $1 order by version";
const READ_ALL: &str = "select global_position, stream_id, version, type, data from events
    where global_position > $1 order by global_position limit $2";

/// A server of the programs in a folder.
#[derive(Debug)]
pub struct Postgres {
    /// The folder of `postgres` and `initdb`.
    pub programs: PathBuf,
}

/// The user whom the server runs as, since it refuses to run as root.
fn user() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("postgres")
}

/// A connection with its prepared statements.
#[derive(Clone)]
pub struct PostgresSession(Arc<Connection>);

struct Connection {
    client: Client,
    port: u16,
    insert_first: Statement,
    insert_telling: Statement,
    insert_many: Statement,
    insert_apart: Statement,
    read_stream: Statement,
    read_all: Statement,
}

fn config(port: u16) -> Config {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .user("postgres")
        .dbname("postgres");
    config
}

async fn connect(port: u16) -> Result<(Client, mpsc::UnboundedReceiver<()>)> {
    let (client, mut connection) = config(port).connect(NoTls).await?;
    let (tell, told) = mpsc::unbounded_channel();
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(_) = message {
                // Whoever does not listen does not want to know.
                let _unheard = tell.send(());
            }
        }
    });
    Ok((client, told))
}

impl Peer for Postgres {
    type Session = PostgresSession;

    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn prepare(&self, folder: &Path) -> Result<()> {
        let data = folder.join("data");
        std::fs::create_dir(&data)?;
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700))?;
        if user().is_some() {
            let id = |flag| -> Result<u32> {
                let output = Command::new("id").args([flag, "postgres"]).output()?;
                ensure!(output.status.success(), "there is no user postgres");
                Ok(String::from_utf8(output.stdout)?.trim().parse()?)
            };
            chown(&data, Some(id("-u")?), Some(id("-g")?))?;
        }
        let initdb = self.programs.join("initdb");
        let mut command = process::command(&initdb.to_string_lossy(), user());
        command.args([
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        command
            .args(["--no-sync", "--pgdata"])
            .arg(&data)
            .current_dir("/");
        let output = command.output().context("initdb cannot be started")?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn server(&self, folder: &Path, port: u16) -> Command {
        let postgres = self.programs.join("postgres");
        let mut command = process::command(&postgres.to_string_lossy(), user());
        command.arg("-D").arg(folder.join("data")).current_dir("/");
        let port = format!("port={port}");
        for setting in [
            &*port,
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=300",
            "shared_buffers=2GB",
            "max_wal_size=8GB",
            "synchronous_commit=on",
            "fsync=on",
            "wal_sync_method=fdatasync",
        ] {
            command.args(["-c", setting]);
        }
        command
    }

    fn stop_signal(&self) -> Signal {
        Signal::INT
    }

    async fn set_up(&self, port: u16) -> Result<()> {
        let (client, _told) = connect(port).await?;
        Ok(client.batch_execute(TABLE).await?)
    }

    async fn connect(&self, port: u16) -> Result<PostgresSession> {
        let (client, _told) = connect(port).await?;
        Ok(PostgresSession(Arc::new(Connection {
            port,
            insert_first: client.prepare(INSERT_FIRST).await?,
            insert_telling: client.prepare(INSERT_TELLING).await?,
            insert_many: client.prepare(INSERT_MANY).await?,
            insert_apart: client.prepare(INSERT_APART).await?,
            read_stream: client.prepare(READ_STREAM).await?,
            read_all: client.prepare(READ_ALL).await?,
            client,
        })))
    }

    /// The tables and their indexes: the log of writes is reused.
    fn files(&self, folder: &Path) -> (PathBuf, bool) {
        (folder.join("data/base"), true)
    }
}

impl Session for PostgresSession {
    type Feed = PostgresFeed;

    async fn append(&self, stream: &str, expected: u64, events: &[Bytes]) -> Result<()> {
        let connection = &*self.0;
        let expected = i64::try_from(expected)?;
        let rows = match events {
            [data] if expected == 0 => {
                let values: [&(dyn ToSql + Sync); 3] = [&stream, &TYPE, &&data[..]];
                connection
                    .client
                    .execute(&connection.insert_first, &values)
                    .await?
            }
            _ => {
                let data: Vec<&[u8]> = events.iter().map(|data| &data[..]).collect();
                let values: [&(dyn ToSql + Sync); 4] = [&stream, &expected, &TYPE, &data];
                connection
                    .client
                    .execute(&connection.insert_many, &values)
                    .await?
            }
        };
        ensure!(rows == events.len() as u64, "another version of {stream}");
        Ok(())
    }

    async fn append_apart(&self, prefix: &str, events: &[Bytes]) -> Result<()> {
        let connection = &*self.0;
        let data: Vec<&[u8]> = events.iter().map(|data| &data[..]).collect();
        let values: [&(dyn ToSql + Sync); 3] = [&prefix, &TYPE, &data];
        connection
            .client
            .execute(&connection.insert_apart, &values)
            .await?;
        Ok(())
    }

    async fn append_live(&self, stream: &str, events: &[Bytes]) -> Result<()> {
        let connection = &*self.0;
        for data in events {
            let values: [&(dyn ToSql + Sync); 3] = [&stream, &TYPE, &&data[..]];
            connection
                .client
                .execute(&connection.insert_telling, &values)
                .await?;
        }
        Ok(())
    }

    async fn read_stream(&self, stream: &str, each: Each<'_>) -> Result<()> {
        let connection = &*self.0;
        let values: [&(dyn ToSql + Sync); 1] = [&stream];
        let rows = connection
            .client
            .query_raw(&connection.read_stream, values)
            .await?;
        let mut rows = std::pin::pin!(rows);
        while let Some(row) = rows.try_next().await? {
            each(row.try_get(2)?);
        }
        Ok(())
    }

    async fn read_all(&self, each: Each<'_>) -> Result<()> {
        let mut after = 0;
        while read_page(&self.0, &mut after, each).await? == PAGE_EVENTS {}
        Ok(())
    }

    async fn follow(&self) -> Result<PostgresFeed> {
        let (client, told) = connect(self.0.port).await?;
        client.batch_execute(&format!("listen {CHANNEL}")).await?;
        let end = "select coalesce(max(global_position), 0) from events";
        let after = client.query_one(end, &[]).await?.try_get(0)?;
        let connection = Arc::clone(&self.0);
        Ok(PostgresFeed {
            connection,
            told,
            after,
            _listening: client,
        })
    }
}

async fn read_page(connection: &Connection, after: &mut i64, each: Each<'_>) -> Result<i64> {
    let values: [&(dyn ToSql + Sync); 2] = [after, &PAGE_EVENTS];
    let rows = connection
        .client
        .query_raw(&connection.read_all, values)
        .await?;
    let mut rows = std::pin::pin!(rows);
    let mut count = 0;
    while let Some(row) = rows.try_next().await? {
        *after = row.try_get(0)?;
        each(row.try_get(4)?);
        count += 1;
    }
    Ok(count)
}

/// Waits for a notification, and selects what is new.
pub struct PostgresFeed {
    connection: Arc<Connection>,
    told: mpsc::UnboundedReceiver<()>,
    after: i64,
    _listening: Client,
}

impl Feed for PostgresFeed {
    async fn next(&mut self, each: Each<'_>) -> Result<()> {
        loop {
            self.told.recv().await.context("the connection was lost")?;
            if read_page(&self.connection, &mut self.after, each).await? > 0 {
                return Ok(());
            }
        }
    }
}
