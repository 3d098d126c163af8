//! Users, their passwords, and what has come of those.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::refusal::Refusal;
use crate::emulator::lock;

/// How many refused logins are remembered.
const REMEMBERED: usize = 1000;

/// What a user may do with the APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads and writes.
    SecurityOfficer,
    /// Reads.
    SecurityViewer,
}

impl Role {
    /// As the vendor calls it.
    pub fn name(self) -> &'static str {
        match self {
            Role::SecurityOfficer => "Security Officer",
            Role::SecurityViewer => "Security Viewer",
        }
    }
}

/// Someone who can log in. `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The password.
    pub password: String,
    /// Whether the user has the permission "Can Create JWT Token".
    pub may_create_tokens: bool,
    /// What the user may do.
    pub role: Role,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("may_create_tokens", &self.may_create_tokens)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// How often tokens were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tokens given for a password.
    pub logins: u64,
    /// Tokens given for a token.
    pub refreshes: u64,
    /// Logins refused for their user or password, those of users locked out included.
    pub refused_logins: u64,
}

/// A login whose user or password was wrong. The password is not told, for it may nearly be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedLogin {
    /// When, in seconds since 1970.
    pub at: i64,
    /// The name that was given, whether anyone has it or not.
    pub name: String,
    /// What was wrong, by its code.
    pub reason: &'static str,
}

/// The users of an appliance, and what they did to log in.
#[derive(Debug)]
pub struct Accounts {
    wrong_passwords: u32,
    all: Mutex<Vec<Account>>,
    refused: Mutex<VecDeque<RefusedLogin>>,
    logins: AtomicU64,
    refreshes: AtomicU64,
    refused_logins: AtomicU64,
}

#[derive(Debug)]
struct Account {
    user: Arc<User>,
    /// Wrong passwords since the latest right one.
    wrong: u32,
}

impl Accounts {
    pub(super) fn new(users: impl IntoIterator<Item = User>, wrong_passwords: u32) -> Self {
        let accounts = Accounts {
            wrong_passwords,
            all: Mutex::default(),
            refused: Mutex::default(),
            logins: AtomicU64::default(),
            refreshes: AtomicU64::default(),
            refused_logins: AtomicU64::default(),
        };
        for user in users {
            accounts.set(user);
        }
        accounts
    }

    /// Adds a user, in place of any of the same name: so passwords, roles and permissions change.
    /// One who was locked out no longer is.
    pub fn set(&self, user: User) {
        let mut all = lock(&self.all);
        all.retain(|account| account.user.name != user.name);
        all.push(Account {
            user: Arc::new(user),
            wrong: 0,
        });
    }

    /// Forgets a user; says whether it was known. The user's tokens are good for nothing then.
    pub fn remove(&self, name: &str) -> bool {
        let mut all = lock(&self.all);
        let before = all.len();
        all.retain(|account| account.user.name != name);
        all.len() < before
    }

    /// Lets a user try passwords again; says whether they had been locked out.
    pub fn unlock(&self, name: &str) -> bool {
        let mut all = lock(&self.all);
        let account = all.iter_mut().find(|account| account.user.name == name);
        let wrong = account.map(|account| std::mem::take(&mut account.wrong));
        wrong.is_some_and(|wrong| wrong >= self.wrong_passwords)
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<User>> {
        let all = lock(&self.all);
        let account = all.iter().find(|account| account.user.name == name)?;
        Some(Arc::clone(&account.user))
    }

    /// The user of this name, for the right password.
    pub(super) fn log_in(
        &self,
        name: &str,
        password: &str,
        now: i64,
    ) -> Result<Arc<User>, Refusal> {
        let checked = self.check(name, password);
        if let Err(refusal) = &checked {
            self.remember(RefusedLogin {
                at: now,
                name: name.to_owned(),
                reason: refusal.code(),
            });
        }
        checked
    }

    fn check(&self, name: &str, password: &str) -> Result<Arc<User>, Refusal> {
        let mut all = lock(&self.all);
        let account = all
            .iter_mut()
            .find(|account| account.user.name == name)
            .ok_or(Refusal::UnknownUser)?;
        if account.wrong >= self.wrong_passwords {
            return Err(Refusal::LockedOut(account.wrong));
        }
        if account.user.password != password {
            account.wrong += 1;
            return Err(Refusal::WrongPassword(account.wrong));
        }
        account.wrong = 0;
        Ok(Arc::clone(&account.user))
    }

    fn remember(&self, login: RefusedLogin) {
        self.refused_logins.fetch_add(1, Ordering::Relaxed);
        let mut refused = lock(&self.refused);
        if refused.len() == REMEMBERED {
            refused.pop_front();
        }
        refused.push_back(login);
    }

    pub(super) fn count_login(&self) {
        self.logins.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refresh(&self) {
        self.refreshes.fetch_add(1, Ordering::Relaxed);
    }

    /// How often tokens were asked for, and how.
    pub fn counts(&self) -> Counts {
        Counts {
            logins: self.logins.load(Ordering::Relaxed),
            refreshes: self.refreshes.load(Ordering::Relaxed),
            refused_logins: self.refused_logins.load(Ordering::Relaxed),
        }
    }

    /// The latest logins whose user or password was wrong, oldest first.
    pub fn refused_logins(&self) -> Vec<RefusedLogin> {
        lock(&self.refused).iter().cloned().collect()
    }
}
