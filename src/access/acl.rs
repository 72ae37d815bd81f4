//! Access lists: who holds which of the five permissions, as it stands in JSON.
//!
//! A key that is there and is not understood grants nothing: only administrators pass. Keys that
//! are none of ours are left alone, so that what others keep beside them does no harm.

use serde_json::{Map, Value};

use super::action::Permission;

/// The role that everybody has.
pub(super) const EVERYBODY: &str = "$all";
/// The group whose members may do everything.
pub(super) const ADMINS: &str = "$admins";
/// The group that keeps the server going.
pub(super) const OPS: &str = "$ops";
/// The user who may do everything, whatever his groups are.
pub(super) const ADMIN: &str = "admin";

/// Roles by permission; none where the list says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Acl([Option<Vec<String>>; 5]);

impl Acl {
    /// A list that grants nothing.
    pub(super) fn nobody() -> Self {
        Self([const { Some(Vec::new()) }; 5])
    }

    /// Reads the value of `$acl`, or of one of the default lists.
    fn of_value(value: &Value) -> Self {
        let Value::Object(object) = value else {
            return Self::nobody();
        };
        Self(Permission::ALL.map(|permission| object.get(permission.key()).map(roles)))
    }

    /// The `$acl` of stream metadata; what is there and cannot be read grants nothing.
    pub(super) fn of_metadata(json: &[u8]) -> Self {
        match object(json).as_ref().and_then(|all| all.get("$acl")) {
            Some(acl) => Self::of_value(acl),
            None => Self::nobody(),
        }
    }

    /// The roles that hold a permission, if the list says it.
    pub(super) fn roles(&self, permission: Permission) -> Option<&[String]> {
        let mut pairs = Permission::ALL.iter().zip(&self.0);
        let (_, roles) = pairs.find(|(of, _)| **of == permission)?;
        roles.as_deref()
    }
}

/// One role, or a list of roles. Anything else holds nobody.
fn roles(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match value {
        Value::String(role) => vec![role.clone()],
        Value::Array(roles) => roles
            .iter()
            .map(text)
            .collect::<Option<_>>()
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn object(json: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(json) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// What holds where a stream's own list says nothing: the last event of `$settings`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Defaults {
    user_streams: Acl,
    system_streams: Acl,
}

impl Defaults {
    /// Reads the event; what is no JSON object says nothing.
    pub(super) fn of_settings(json: &[u8]) -> Self {
        let settings = object(json).unwrap_or_default();
        let acl = |key: &str| settings.get(key).map(Acl::of_value).unwrap_or_default();
        Self {
            user_streams: acl("$userStreamAcl"),
            system_streams: acl("$systemStreamAcl"),
        }
    }

    /// The list for a stream.
    pub(super) fn acl(&self, stream: &str) -> &Acl {
        match stream.starts_with('$') {
            true => &self.system_streams,
            false => &self.user_streams,
        }
    }
}

/// Who holds a permission where nothing is said at all: everybody on streams of the users,
/// administrators on those of the store, and operators read the reports of scavenging.
pub(super) fn built_in(stream: &str, permission: Permission) -> &'static [&'static str] {
    match stream.starts_with('$') {
        false => &[EVERYBODY],
        true if permission == Permission::Read && stream.starts_with("$scavenges") => {
            &[ADMINS, OPS]
        }
        true => &[ADMINS],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(json: &str, permission: Permission) -> Option<Vec<String>> {
        let acl = Acl::of_metadata(json.as_bytes());
        acl.roles(permission).map(<[String]>::to_vec)
    }

    #[test]
    fn a_permission_is_held_by_one_role_or_by_several() {
        let json = r#"{"$acl":{"$r":"a","$w":["b","$ops"],"$d":[],"mine":7}}"#;
        assert_eq!(held(json, Permission::Read), Some(vec!["a".into()]));
        let two = vec!["b".to_owned(), "$ops".to_owned()];
        assert_eq!(held(json, Permission::Write), Some(two));
        assert_eq!(held(json, Permission::Delete), Some(Vec::new()));
        assert_eq!(held(json, Permission::ReadMetadata), None);
    }

    #[test]
    fn what_is_not_understood_grants_nothing() {
        for json in [
            r#"{"$acl":7}"#,
            r#"{"$acl":null}"#,
            r#"{"$acl":{"$r":7}}"#,
            r#"{"$acl":{"$r":null}}"#,
            r#"{"$acl":{"$r":["a",7]}}"#,
            "no JSON",
        ] {
            assert_eq!(held(json, Permission::Read), Some(Vec::new()), "{json}");
        }
    }

    #[test]
    fn settings_that_say_nothing_leave_the_defaults() {
        for json in ["", "[]", "{}", r#"{"other":1}"#] {
            let defaults = Defaults::of_settings(json.as_bytes());
            assert_eq!(defaults, Defaults::default());
        }
        let one = Defaults::of_settings(br#"{"$userStreamAcl":{"$w":"writers"}}"#);
        let roles = one.acl("order-1").roles(Permission::Write);
        assert_eq!(roles, Some(&["writers".to_owned()][..]));
        assert_eq!(one.acl("$order").roles(Permission::Write), None);
    }
}
