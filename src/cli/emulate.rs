//! `countersign emulate`: one emulated vendor alone, to put a proxy in front of.

use std::path::Path;
use std::process::ExitCode;

#[cfg(not(feature = "emulator"))]
pub(super) fn run(_: Option<&str>, _: Option<&str>, _: Option<&Path>) -> ExitCode {
    super::fail(
        "this build has no emulators, as befits production; build with default features for them",
    )
}

#[cfg(feature = "emulator")]
pub(super) use stage::run;

#[cfg(feature = "emulator")]
mod stage {
    use std::fs::{self, DirBuilder};
    use std::net::SocketAddr;
    use std::os::unix::fs::DirBuilderExt;

    use super::{ExitCode, Path};
    use crate::cli::keygen::{PRIVATE, write};
    use crate::cli::{fail, misused, process, say};
    use crate::config::problem::did_you_mean;
    use crate::emulator::scene::Scene;
    use crate::emulator::{self, Options};

    /// What a proxy for the scene is configured with besides what the scene has itself.
    const LISTENER: &str = "[listeners.local]\naddress = \"127.0.0.1:8080\"\n";

    /// The configuration's name in the folder.
    const CONFIGURATION: &str = "proxy.toml";

    pub(in crate::cli) fn run(
        vendor: Option<&str>,
        address: Option<&str>,
        out: Option<&Path>,
    ) -> ExitCode {
        let mut options = Options::default();
        if let Some(text) = address {
            match text.parse::<SocketAddr>() {
                Ok(address) => options.address = address,
                Err(_) => {
                    return misused(
                        format!("`{text}` is no address to listen on"),
                        "write --address 127.0.0.1:8443, or port 0 for a free one",
                    );
                }
            }
        }
        let wanted = vendor.unwrap_or_default();
        let Some(scene) = emulator::scene_of(wanted, options) else {
            let message = match vendor {
                Some(name) => format!("there is no emulated vendor `{name}`"),
                None => "emulate which vendor?".to_owned(),
            };
            return misused(message, did_you_mean(wanted, emulator::vendors()));
        };
        let scene = match scene {
            Ok(scene) => scene,
            Err(error) => return fail(crate::credential::chain(&error)),
        };
        if let Some(folder) = out
            && let Err(message) = leave(&scene, folder)
        {
            return fail(message);
        }
        let mut said = ExitCode::SUCCESS;
        let introduce = || {
            said = say(&introduction(&scene, out));
            said == ExitCode::SUCCESS
        };
        match process::wait_for_signal(introduce) {
            Ok(()) => said,
            Err(error) => fail(format!("cannot wait for signals: {error}")),
        }
    }

    fn introduction(scene: &Scene, out: Option<&Path>) -> String {
        let mut text = format!(
            "{}, emulated, listens on https://{}\n\n",
            scene.about, scene.address
        );
        match out {
            Some(folder) => {
                let file = folder.join(CONFIGURATION);
                let path = scene.paths.first().copied().unwrap_or("/");
                text.push_str(&format!(
                    "{} is a configuration for it. In another terminal:\n    countersign serve -c {}\n    curl 'http://127.0.0.1:8080/{}{path}'\n\n",
                    file.display(),
                    file.display(),
                    scene.name,
                ));
            }
            None => text.push_str(
                "Its keys and its certificate are new at each start and nowhere on disk. With --out FOLDER they\nare left there for a proxy, with a configuration.\n\n",
            ),
        }
        text.push_str("Ctrl-C ends it.\n");
        text
    }

    /// Leaves what a proxy needs in a folder, for its owner alone. No file is written over.
    fn leave(scene: &Scene, folder: &Path) -> Result<(), String> {
        if !folder.exists() {
            let made = DirBuilder::new().mode(0o700).create(folder);
            made.map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
        }
        let configuration = format!("{LISTENER}{}", scene.configuration);
        let mut files = vec![(CONFIGURATION.to_owned(), configuration)];
        files.extend(scene.files.iter().cloned());
        if let Some((name, _)) = files.iter().find(|(name, _)| folder.join(name).exists()) {
            return Err(format!(
                "{} exists already, and no file is written over; give a new folder",
                folder.join(name).display()
            ));
        }
        for (index, (name, content)) in files.iter().enumerate() {
            let path = folder.join(name);
            write(&path, content.as_bytes(), PRIVATE).map_err(|error| {
                for (name, _) in &files[..index] {
                    let _ = fs::remove_file(folder.join(name));
                }
                format!("cannot write {}: {error}", path.display())
            })?;
        }
        Ok(())
    }
}
