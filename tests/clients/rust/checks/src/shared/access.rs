//! Checks of users, rights, operations, and the ways to reach a server.

use std::sync::Arc;
use std::time::Duration;

use super::client::{
    self, Acl, Client, Error, Expect, ProjectionClient, ReadAllOptions, ReadStreamOptions,
    StreamAclBuilder, StreamMetadataBuilder, operations,
};
use super::context::{Context, checks, collect, events, name, refused};
use crate::harness::{Absent, Checked, Failure, Report, until};

/// Made by the runner on the server with users: nobody's administrator.
const USER: &str = "alice:wonderland";

pub(crate) async fn run(c: &Arc<Context>, report: &mut Report) -> Result<(), Failure> {
    checks! { c, report,
        "wrong-password" => wrong_password,
        "unknown-user" => unknown_user,
        "denied-read" => denied_read,
        "denied-write" => denied_write,
        "denied-all" => denied_all,
        "denied-group" => denied_group,
        "denied-operation" => denied_operation,
        "discover" => discover,
        "deadline" => deadline,
        "system-projections" => system_projections,
        "user-projections-refused" => user_projections_refused,
        "users" => users,
        "statistics" => statistics,
        "scavenge" => scavenge,
        "gossip" => gossip,
    }
    Ok(())
}

/// Where nobody is asked who they are, nothing is refused.
fn needs_users(c: &Context) -> Checked {
    match c.tls() {
        true => Ok(()),
        false => Err(Absent("the plain server asks nobody who they are").into()),
    }
}

async fn read(client: &Client, stream: &str) -> client::Result<usize> {
    let options = ReadStreamOptions::default();
    Ok(collect(client.read_stream(stream, &options).await?)
        .await?
        .len())
}

async fn refused_as(c: &Context, user: &str) -> Checked {
    needs_users(c)?;
    let client = c.connect(user)?;
    refused!(read(&client, &name("any")).await, Error::AccessDenied);
    let options = Default::default();
    let append = client.append_to_stream(name("any"), &options, events(1, "Happened"));
    refused!(append.await, Error::AccessDenied);
    Ok(())
}

async fn wrong_password(c: Arc<Context>) -> Checked {
    refused_as(&c, "admin:not-it").await
}

async fn unknown_user(c: Arc<Context>) -> Checked {
    refused_as(&c, "nobody:changeit").await
}

async fn set_acl(c: &Context, stream: &str, acl: StreamAclBuilder) -> client::Result<()> {
    let metadata = StreamMetadataBuilder::new()
        .acl(Acl::Stream(acl.build()))
        .build();
    let options = client::append_options(Expect::Any);
    c.client
        .set_stream_metadata(stream, &options, &metadata)
        .await?;
    Ok(())
}

async fn denied_read(c: Arc<Context>) -> Checked {
    needs_users(&c)?;
    let (client, stream) = (c.connect(USER)?, c.filled("acl", 1).await?);
    assert_eq!(read(&client, &stream).await?, 1);
    set_acl(
        &c,
        &stream,
        StreamAclBuilder::new().add_read_roles("$admins"),
    )
    .await?;
    refused!(read(&client, &stream).await, Error::AccessDenied);
    let mut subscription = client
        .subscribe_to_stream(stream.as_str(), &Default::default())
        .await;
    refused!(subscription.next().await, Error::AccessDenied);
    set_acl(&c, &stream, StreamAclBuilder::new().add_read_roles("alice")).await?;
    assert_eq!(read(&client, &stream).await?, 1);
    Ok(())
}

async fn denied_write(c: Arc<Context>) -> Checked {
    needs_users(&c)?;
    let (client, stream) = (c.connect(USER)?, c.filled("acl", 1).await?);
    let acl = StreamAclBuilder::new()
        .add_write_roles("$admins")
        .add_delete_roles("$admins");
    set_acl(&c, &stream, acl).await?;
    let (stream, one, options) = (stream.as_str(), events(1, "Happened"), Default::default());
    let append = client.append_to_stream(stream, &options, one);
    refused!(append.await, Error::AccessDenied);
    refused!(
        client.delete_stream(stream, &Default::default()).await,
        Error::AccessDenied
    );
    refused!(
        client.tombstone_stream(stream, &Default::default()).await,
        Error::AccessDenied
    );
    assert_eq!(read(&client, stream).await?, 1);
    Ok(())
}

async fn denied_all(c: Arc<Context>) -> Checked {
    needs_users(&c)?;
    let client = c.connect(USER)?;
    let options = ReadAllOptions::default().max_count(1);
    let all = async { collect(client.read_all(&options).await?).await };
    refused!(all.await, Error::AccessDenied);
    refused!(read(&client, "$users").await, Error::AccessDenied);
    Ok(())
}

async fn denied_group(c: Arc<Context>) -> Checked {
    needs_users(&c)?;
    let (client, stream, options) = (c.connect(USER)?, name("source"), Default::default());
    let create = client.create_persistent_subscription(stream, name("group"), &options);
    refused!(create.await, Error::AccessDenied);
    Ok(())
}

async fn denied_operation(c: Arc<Context>) -> Checked {
    needs_users(&c)?;
    let operations: operations::Client = c.connect(USER)?.into();
    refused!(
        operations.shutdown(&Default::default()).await,
        Error::AccessDenied
    );
    refused!(
        operations.start_scavenge(1, 0, &Default::default()).await,
        Error::AccessDenied
    );
    let (options, none) = (Default::default(), Vec::new());
    let user = operations.create_user("eve", "secret", "Eve", none, &options);
    refused!(user.await, Error::AccessDenied);
    Ok(())
}

async fn discover(c: Arc<Context>) -> Checked {
    let (client, stream) = (c.discover()?, name("discovered"));
    let (options, one) = (Default::default(), events(1, "Happened"));
    client
        .append_to_stream(stream.as_str(), &options, one)
        .await?;
    assert_eq!(read(&client, &stream).await?, 1);
    Ok(())
}

async fn deadline(_: Arc<Context>) -> Checked {
    Err(Absent("covered by the other clients").into())
}

async fn system_projections(c: Arc<Context>) -> Checked {
    let projections: ProjectionClient = c.client.clone().into();
    let status = projections
        .get_status("$by_category", &Default::default())
        .await?;
    assert!(status.is_some_and(|status| status.status.contains("Running")));
    projections
        .disable("$by_category", &Default::default())
        .await?;
    projections
        .enable("$by_category", &Default::default())
        .await?;
    refused!(
        projections.enable(name("no"), &Default::default()).await,
        Error::ResourceNotFound
    );
    Ok(())
}

async fn user_projections_refused(c: Arc<Context>) -> Checked {
    let projections: ProjectionClient = c.client.clone().into();
    let query = "fromAll().when({})".to_string();
    let made = projections
        .create(name("projection"), query, &Default::default())
        .await;
    refused!(made, Error::UnsupportedFeature);
    Ok(())
}

async fn users(c: Arc<Context>) -> Checked {
    let operations: operations::Client = c.client.clone().into();
    let options = Default::default();
    let login = name("user").replace('-', "_");
    let groups = vec!["writers".to_string()];
    operations
        .create_user(&login, "first", "A User", groups.clone(), &options)
        .await?;
    let mut found = operations.user_details(&login, &options).await?;
    let user = found.next().await?.ok_or("no such user")?;
    assert_eq!(
        (&user.login, user.full_name.as_str(), user.disabled),
        (&login, "A User", false)
    );
    assert_eq!(user.groups, groups);
    operations
        .change_user_password(&login, "first", "second", &options)
        .await?;
    let wrong = operations
        .change_user_password(&login, "first", "third", &options)
        .await;
    if c.tls() {
        refused!(wrong, Error::AccessDenied);
        let client = c.connect(&format!("{login}:second"))?;
        refused!(read(&client, &name("any")).await, Error::ResourceNotFound);
        operations.disable_user(&login, &options).await?;
        until(async || {
            Ok(matches!(
                read(&c.connect(&format!("{login}:second"))?, &name("any")).await,
                Err(Error::AccessDenied)
            )
            .then_some(()))
        })
        .await?;
        operations.enable_user(&login, &options).await?;
    }
    operations
        .update_user(&login, "second", "Another", Vec::new(), &options)
        .await?;
    operations
        .reset_user_password(&login, "fourth", &options)
        .await?;
    operations.delete_user(&login, &options).await?;
    let gone = async {
        operations
            .user_details(&login, &options)
            .await?
            .next()
            .await
    };
    refused!(gone.await, Error::ResourceNotFound);
    Ok(())
}

async fn statistics(c: Arc<Context>) -> Checked {
    let operations: operations::Client = c.client.clone().into();
    let options = operations::StatsOptions::default().refresh_time(Duration::from_millis(200));
    let mut stats = operations.stats(&options).await?;
    assert!(!stats.next().await?.0.is_empty() && !stats.next().await?.0.is_empty());
    Ok(())
}

async fn scavenge(c: Arc<Context>) -> Checked {
    let operations: operations::Client = c.client.clone().into();
    let options = Default::default();
    let started = operations.start_scavenge(1, 0, &options).await?;
    operations.stop_scavenge(started.id(), &options).await?;
    let unknown = operations.stop_scavenge(name("no"), &options).await;
    refused!(unknown, Error::ResourceNotFound);
    operations.merge_indexes(&options).await?;
    Ok(())
}

async fn gossip(c: Arc<Context>) -> Checked {
    if c.tls() {
        // The client asks over HTTP, where it does not look at `tlsCaFile`.
        return Err(Absent("trusts no authority but the system's here").into());
    }
    let operations: operations::Client = c.client.clone().into();
    let members = operations.read_gossip().await?;
    assert_eq!(members.len(), 1);
    Ok(())
}
