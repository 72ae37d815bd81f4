//! What a caller may want to do: the one list that every front takes its questions from.

use std::fmt;

use crate::model::StreamName;

/// Something that somebody wants to do, to be asked of [`super::Access::authorize`].
///
/// A metadata stream `$$x` is judged by the metadata permissions of `x`: reading it needs the right
/// to read metadata, and writing or deleting it the right to write them. The stream need not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action<'a> {
    /// Read or follow a stream, also through a consumer group.
    Read(&'a StreamName),
    /// Append to a stream.
    Write(&'a StreamName),
    /// Delete or tombstone a stream.
    Delete(&'a StreamName),
    /// Read the metadata of a stream.
    ReadMetadata(&'a StreamName),
    /// Change the metadata of a stream.
    WriteMetadata(&'a StreamName),
    /// Read or follow the whole log, filtered or not, also through a consumer group. Which of its
    /// events are shown then is [`super::Visibility`]'s to say.
    ReadAll,
    /// Anything that is not about one stream's events.
    Call(Call),
}

/// One of the five rights that an access list gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// `$r`: read events.
    Read,
    /// `$w`: append events.
    Write,
    /// `$d`: delete the stream.
    Delete,
    /// `$mr`: read the metadata.
    ReadMetadata,
    /// `$mw`: write the metadata.
    WriteMetadata,
}

impl Permission {
    /// All of them, in the order of an access list.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Write,
        Self::Delete,
        Self::ReadMetadata,
        Self::WriteMetadata,
    ];

    /// Its key in an access list.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Read => "$r",
            Self::Write => "$w",
            Self::Delete => "$d",
            Self::ReadMetadata => "$mr",
            Self::WriteMetadata => "$mw",
        }
    }
}

/// Who may make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Required {
    /// Everybody, without showing anything.
    Nothing,
    /// Every user.
    User,
    /// Members of `$admins` or `$ops`.
    Operator,
    /// Members of `$admins`, and the user `admin`.
    Admin,
}

macro_rules! calls {
    ($($(#[$doc:meta])* $call:ident: $required:ident,)*) => {
        /// A call that is not about one stream's events.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Call {
            $($(#[$doc])* $call,)*
        }

        impl Call {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$call,)*];

            /// Who may make it.
            #[must_use]
            pub const fn required(self) -> Required {
                match self {
                    $(Self::$call => Required::$required,)*
                }
            }
        }
    };
}

calls! {
    /// Ask whether the server lives, what it is, and what it can do.
    Discover: Nothing,
    /// Ask which nodes there are.
    Gossip: Nothing,
    /// Ask where the log ends, how the server is, wait for a position, or find one by time.
    Status: User,
    /// Read statistics and metrics.
    Statistics: User,
    /// Read the options that the server runs with.
    Options: Operator,
    /// Check the store, scavenge, shut down, and what else keeps a server going.
    Operate: Operator,
    /// Make, change, delete and replay consumer groups, and restart all of them.
    ManageGroups: Operator,
    /// Look at consumer groups.
    InspectGroups: User,
    /// Make, change, start and stop projections, and read their states and results.
    ManageProjections: User,
    /// Delete projections, and restart all of them.
    DeleteProjections: Operator,
    /// Make, start, stop and delete indexes.
    ManageIndexes: Operator,
    /// Look at indexes.
    InspectIndexes: User,
    /// Make, change, delete, enable and disable users, and set their passwords.
    ManageUsers: Admin,
    /// Look at users.
    InspectUsers: User,
    /// Change a password by showing the one before, which is the proof.
    ChangePassword: User,
}

impl fmt::Display for Action<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(stream) => write!(f, "read {stream}"),
            Self::Write(stream) => write!(f, "write to {stream}"),
            Self::Delete(stream) => write!(f, "delete {stream}"),
            Self::ReadMetadata(stream) => write!(f, "read the metadata of {stream}"),
            Self::WriteMetadata(stream) => write!(f, "write the metadata of {stream}"),
            Self::ReadAll => f.write_str("read $all"),
            Self::Call(call) => write!(f, "call {call:?}"),
        }
    }
}

/// What an action on streams comes down to: a permission, and the stream whose access list grants
/// it, which may be `$all`.
pub(super) fn subject<'a>(action: Action<'a>) -> Result<(Permission, &'a str), Call> {
    let or_metadata = |stream: &'a StreamName, own, of_described| match stream.described() {
        Some(described) => (of_described, described),
        None => (own, stream.as_str()),
    };
    Ok(match action {
        Action::Read(stream) => or_metadata(stream, Permission::Read, Permission::ReadMetadata),
        Action::Write(stream) => or_metadata(stream, Permission::Write, Permission::WriteMetadata),
        Action::Delete(stream) => {
            or_metadata(stream, Permission::Delete, Permission::WriteMetadata)
        }
        Action::ReadMetadata(stream) => {
            or_metadata(stream, Permission::ReadMetadata, Permission::ReadMetadata)
        }
        Action::WriteMetadata(stream) => {
            or_metadata(stream, Permission::WriteMetadata, Permission::WriteMetadata)
        }
        Action::ReadAll => (Permission::Read, "$all"),
        Action::Call(call) => return Err(call),
    })
}
