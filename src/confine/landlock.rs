//! Landlock (kernel 5.13 and later): a process takes rights away from itself. Each kernel knows a
//! part of it, by the version of its interface: files from 1 on, TCP ports from 4, signals and
//! abstract sockets from 6.

use std::collections::BTreeSet;
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope, path_beneath_rules,
};

use super::Needs;

/// The newest interface that is asked for. Later ones forbid what looking names up may need: sockets
/// of the machine's own resolver.
const NEWEST: ABI = ABI::V6;

/// What is read beside the configuration: what looking names up needs and who vouches for servers.
/// Whole folders, as their files are replaced by renaming. `/proc` shows the process itself, and of
/// others only what Landlock leaves everybody.
const SYSTEM: [&str; 12] = [
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/run/NetworkManager",
    "/run/nscd",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/share/ca-certificates",
    "/usr/share",
];

/// Where a resolver asks again over TCP when an answer is too long (RFC 7766).
const DNS: u16 = 53;

/// How much of what was asked for the kernel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) version: i32,
    pub(super) files: bool,
    pub(super) ports: bool,
}

/// Takes away from the calling thread, and from those it starts, all but what is needed.
pub(super) fn restrict(needs: &Needs) -> Result<Held, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::MakeSock | AccessFs::RemoveFile;
    let keep = AccessFs::MakeReg | AccessFs::WriteFile | AccessFs::RemoveFile;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::ConnectTcp)?
        .scope(Scope::Signal)?;
    if !supervisor_is_abstract() {
        rules = rules.scope(Scope::AbstractUnixSocket)?;
    }
    if needs.bind.is_some() {
        rules = rules.handle_access(AccessNet::BindTcp)?;
    }
    let connect = needs.connect.iter().copied().chain([DNS]);
    let bind = needs.bind.iter().flatten().copied();
    let status = rules
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, read))?
        .add_rules(path_beneath_rules(authorities(), read))?
        .add_rules(path_beneath_rules(&needs.read, read))?
        .add_rules(path_beneath_rules(&needs.write, read | write))?
        .add_rules(path_beneath_rules(&needs.keep, read | keep))?
        .add_rules(ports(connect, AccessNet::ConnectTcp.into()))?
        .add_rules(ports(bind, AccessNet::BindTcp.into()))?
        .restrict_self()?;
    let version = match status.landlock {
        LandlockStatus::Available {
            effective_abi,
            kernel_abi,
        } => kernel_abi.unwrap_or(effective_abi as i32),
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => 0,
    };
    Ok(Held::of(version))
}

fn ports(
    ports: impl Iterator<Item = u16>,
    access: BitFlags<AccessNet>,
) -> impl Iterator<Item = Result<NetPort, RulesetError>> {
    ports.map(move |port| Ok(NetPort::new(port, access)))
}

/// Where OpenSSL's variables say that the machine's authorities are.
fn authorities() -> impl Iterator<Item = PathBuf> {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .into_iter()
        .filter_map(std::env::var_os);
    named.map(PathBuf::from)
}

/// Whether the supervisor listens on an abstract socket, which must stay within reach then.
fn supervisor_is_abstract() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some_and(|name| name.as_encoded_bytes().starts_with(b"@"))
}

impl Held {
    /// What a kernel with that version of the interface holds; 0 is one without.
    pub(super) fn of(version: i32) -> Self {
        Self {
            version,
            files: version >= 1,
            ports: version >= 4,
        }
    }

    /// What the kernel does not hold of all that was asked for.
    pub(super) fn missing(self) -> Option<String> {
        match self.version {
            0 => Some("this kernel has no Landlock".into()),
            1..4 => Some(format!(
                "this kernel's Landlock (version {}) knows no ports",
                self.version
            )),
            4..6 => Some(format!(
                "this kernel's Landlock (version {}) knows no signals",
                self.version
            )),
            _ => None,
        }
    }

    /// A sentence on what is in force.
    pub(super) fn describe(self, needs: &Needs) -> String {
        if !self.files {
            return format!("not confined: {}", self.missing().unwrap_or_default());
        }
        let mut said = format!(
            "confined by Landlock (version {}): runs no program, reads below {} and the system's folders",
            self.version,
            folders(&needs.read)
        );
        if !needs.write.is_empty() {
            said.push_str(&format!(", makes sockets in {}", folders(&needs.write)));
        }
        if !needs.keep.is_empty() {
            said.push_str(&format!(", keeps files in {}", folders(&needs.keep)));
        }
        if self.ports {
            said.push_str(&format!(", connects to {}", listed(&needs.connect)));
            if let Some(bind) = &needs.bind {
                said.push_str(&format!(", listens on {}", listed(bind)));
            }
        }
        match self.missing() {
            Some(missing) => format!("{said}; {missing}"),
            None => said,
        }
    }
}

/// Each folder once, however many names it goes by.
fn folders(paths: &BTreeSet<PathBuf>) -> String {
    let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    let real: BTreeSet<PathBuf> = paths.iter().map(real).collect();
    let shown: Vec<String> = real.iter().map(|it| it.display().to_string()).collect();
    shown.join(", ")
}

fn listed(ports: &BTreeSet<u16>) -> String {
    match ports.len() {
        0 => "no port".into(),
        1 => format!("port {}", ports.iter().next().copied().unwrap_or_default()),
        _ => {
            let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
            format!("ports {}", ports.join(", "))
        }
    }
}
