//! Passwords: making hashes of them, and finding out whether they fit.
//!
//! A hash is Argon2id, which takes time and memory on purpose. So only a few run at once, only a
//! bounded number of callers waits for them, and what was found to fit is remembered, by a keyed
//! hash over login, password and stored hash: a user who changes is another one.

use std::collections::HashSet;
use std::fmt;
use std::sync::OnceLock;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use parking_lot::{Condvar, Mutex};

use super::AccessOptions;
use super::principal::Password;

/// More memory than any hash of ours takes, in KiB: what is on the disk must not take all of it.
const MEMORY_KIB_MAX: u32 = 256 * 1024;

/// Too many callers wait for passwords to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// Checks passwords.
pub(super) struct Secrets {
    params: Params,
    parallel_max: usize,
    waiting_max: usize,
    work: Mutex<Work>,
    freed: Condvar,
    cache_key: [u8; 32],
    remembered: Mutex<Remembered>,
    /// What the password of nobody is compared with, so that it takes as long.
    nobody: OnceLock<String>,
}

#[derive(Debug, Default)]
struct Work {
    running: usize,
    waiting: usize,
}

/// What was found to fit lately: when the young half is full, the old half is forgotten.
#[derive(Default)]
struct Remembered {
    half_max: usize,
    young: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets")
            .field("work", &self.work)
            .finish_non_exhaustive()
    }
}

/// A random key. Version 4 UUIDs come from the system's source of secrets.
fn random_key() -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for _ in 0..3 {
        hasher.update(uuid::Uuid::new_v4().as_bytes());
    }
    *hasher.finalize().as_bytes()
}

impl Secrets {
    pub(super) fn new(options: &AccessOptions) -> Self {
        let params = Params::new(
            options.hash_memory_kib.clamp(8, MEMORY_KIB_MAX),
            options.hash_passes.max(1),
            1,
            None,
        );
        Self {
            params: params.unwrap_or_default(),
            parallel_max: options.verify_parallel_max.max(1),
            waiting_max: options.verify_waiting_max,
            work: Mutex::default(),
            freed: Condvar::new(),
            cache_key: random_key(),
            remembered: Mutex::new(Remembered {
                half_max: options.verified_max.div_ceil(2),
                ..Remembered::default()
            }),
            nobody: OnceLock::new(),
        }
    }

    /// A hash of a password, with a salt of its own.
    pub(super) fn make(&self, password: &Password) -> Result<String, Busy> {
        let _turn = self.turn()?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone());
        // Salts and lengths are right by construction; the random source may fail.
        let hashed = argon2.hash_password(password.reveal().as_bytes());
        hashed.map(|hash| hash.to_string()).map_err(|_| Busy)
    }

    /// Whether a password is known to fit a hash, from having been checked lately.
    pub(super) fn is_known(&self, login: &str, password: &Password, hash: &str) -> bool {
        let key = self.cache_key(login, password, hash);
        self.remembered.lock().contains(&key)
    }

    /// Whether a password fits a hash that [`Self::make`] made.
    pub(super) fn fits(&self, login: &str, password: &Password, hash: &str) -> Result<bool, Busy> {
        let key = self.cache_key(login, password, hash);
        if self.remembered.lock().contains(&key) {
            return Ok(true);
        }
        let fits = self.verify(password, hash)?;
        if fits {
            self.remembered.lock().insert(key);
        }
        Ok(fits)
    }

    /// Takes as long as finding out that a password does not fit.
    pub(super) fn pretend(&self, password: &Password) -> Result<(), Busy> {
        let nobody = match self.nobody.get() {
            Some(nobody) => nobody,
            None => {
                let made = self.make(&Password::generate())?;
                self.nobody.get_or_init(|| made)
            }
        };
        self.verify(password, nobody).map(drop)
    }

    fn verify(&self, password: &Password, hash: &str) -> Result<bool, Busy> {
        let Ok(parsed) = PasswordHash::new(hash) else {
            return Ok(false);
        };
        let memory = Params::try_from(&parsed).map(|params| params.m_cost());
        if !memory.is_ok_and(|memory| memory <= MEMORY_KIB_MAX) {
            return Ok(false);
        }
        let _turn = self.turn()?;
        let argon2 = Argon2::default();
        let verified = argon2.verify_password(password.reveal().as_bytes(), &parsed);
        Ok(verified.is_ok())
    }

    fn cache_key(&self, login: &str, password: &Password, hash: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.cache_key);
        for text in [login, password.reveal(), hash] {
            let len = u64::try_from(text.len()).unwrap_or(u64::MAX);
            hasher.update(&len.to_le_bytes());
            hasher.update(text.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// Waits until one more may run.
    fn turn(&self) -> Result<Turn<'_>, Busy> {
        let mut work = self.work.lock();
        if work.running >= self.parallel_max {
            if work.waiting >= self.waiting_max {
                return Err(Busy);
            }
            work.waiting += 1;
            while work.running >= self.parallel_max {
                self.freed.wait(&mut work);
            }
            work.waiting -= 1;
        }
        work.running += 1;
        Ok(Turn(self))
    }
}

/// One of those that run.
struct Turn<'a>(&'a Secrets);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.work.lock().running -= 1;
        self.0.freed.notify_one();
    }
}

impl Remembered {
    fn contains(&mut self, key: &[u8; 32]) -> bool {
        if self.young.contains(key) {
            return true;
        }
        let was_old = self.old.remove(key);
        if was_old {
            self.insert(*key);
        }
        was_old
    }

    fn insert(&mut self, key: [u8; 32]) {
        if self.half_max == 0 {
            return;
        }
        if self.young.len() >= self.half_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key);
    }
}

impl Password {
    /// A password that nobody guesses: 26 characters that are easy to tell apart.
    #[must_use]
    pub fn generate() -> Self {
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let letter = |byte: &u8| {
            let letter = LETTERS.get(usize::from(byte % 32));
            letter.copied().map_or('a', char::from)
        };
        let text: String = random_key().iter().take(26).map(letter).collect();
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick() -> Secrets {
        Secrets::new(&AccessOptions {
            hash_memory_kib: 8,
            hash_passes: 1,
            verified_max: 2,
            ..AccessOptions::default()
        })
    }

    #[test]
    fn a_password_fits_its_own_hash_only() {
        let secrets = quick();
        let (right, wrong) = (Password::new("right"), Password::new("wrong"));
        let hash = secrets.make(&right).unwrap();
        assert_ne!(hash, secrets.make(&right).unwrap(), "each has its own salt");
        for _ in 0..2 {
            assert_eq!(secrets.fits("a", &right, &hash), Ok(true));
            assert_eq!(secrets.fits("a", &wrong, &hash), Ok(false));
        }
        assert_eq!(secrets.fits("a", &right, "no hash"), Ok(false));
    }

    #[test]
    fn a_hash_from_the_disk_cannot_take_all_memory() {
        let hash = quick().make(&Password::new("x")).unwrap();
        let greedy = hash.replace("m=8,", "m=4194304,");
        assert_ne!(greedy, hash);
        assert_eq!(quick().fits("a", &Password::new("x"), &greedy), Ok(false));
    }

    #[test]
    fn the_memory_of_what_fits_is_bounded_and_keeps_what_is_used() {
        let mut remembered = Remembered {
            half_max: 2,
            ..Remembered::default()
        };
        for n in 0..20 {
            remembered.insert([n; 32]);
            assert!(remembered.contains(&[0; 32]), "it is used all the time");
            assert!(remembered.young.len() + remembered.old.len() <= 4);
        }
        assert!(!remembered.contains(&[7; 32]));
    }

    #[test]
    fn no_more_than_allowed_wait() {
        let secrets = Secrets::new(&AccessOptions {
            hash_memory_kib: 8,
            hash_passes: 1,
            verify_parallel_max: 1,
            verify_waiting_max: 0,
            ..AccessOptions::default()
        });
        let turn = secrets.turn().unwrap();
        assert_eq!(secrets.make(&Password::new("x")), Err(Busy));
        drop(turn);
        assert!(secrets.make(&Password::new("x")).is_ok());
    }

    #[test]
    fn generated_passwords_differ_and_debug_shows_none() {
        let (one, other) = (Password::generate(), Password::generate());
        assert_ne!(one, other);
        assert_eq!(one.reveal().len(), 26);
        assert!(!format!("{one:?}").contains(one.reveal()));
    }
}
