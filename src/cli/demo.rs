//! `countersign demo`: the proxy at work, against vendors that are emulated in this very process.
//! Everything is made in memory; no file is read or left behind.

use std::process::ExitCode;

#[cfg(not(feature = "emulator"))]
pub(super) fn run() -> ExitCode {
    super::fail(
        "this build has no emulators, as befits production; build with default features for the demo",
    )
}

#[cfg(feature = "emulator")]
pub(super) fn run() -> ExitCode {
    match stage::start() {
        // The vendors stay on stage until the proxy has ended.
        Ok((running, _scenes)) => super::process::run_until_signal(running, |_| ()),
        Err(error) => super::fail(error),
    }
}

#[cfg(feature = "emulator")]
mod stage {
    use std::collections::HashMap;
    use std::error::Error;
    use std::net::SocketAddr;
    use std::path::Path;

    use bytes::Bytes;
    use http::{Request, StatusCode};
    use http_body_util::{BodyExt, Empty};
    use hyper::client::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpStream;

    use crate::app::{self, Running, StartError};
    use crate::clock::Clock;
    use crate::config;
    use crate::emulator::scene::Scene;
    use crate::emulator::scenes;
    use crate::secret::store::Store;
    use crate::telemetry;

    /// Where the demo listens, if it can.
    const ADDRESS: &str = "127.0.0.1:8080";

    type Failure = Box<dyn Error>;

    /// Puts everything on stage and makes the first call.
    pub(super) fn start() -> Result<(Running, Vec<Scene>), Failure> {
        let scenes = scenes()?;
        let running = proxy(&scenes, ADDRESS).or_else(|error| match error.downcast_ref() {
            Some(StartError::Bind(_)) => {
                println!("{ADDRESS} is taken; the demo takes a free port instead\n");
                proxy(&scenes, "127.0.0.1:0")
            }
            _ => Err(error),
        })?;
        let address = running
            .listeners()
            .first()
            .and_then(|it| it.1.ip())
            .ok_or("the demo has a listener")?;
        for scene in &scenes {
            show(scene, address)?;
        }
        println!("Each request is logged below. Ctrl-C ends the demo.\n");
        Ok((running, scenes))
    }

    fn proxy(scenes: &[Scene], address: &str) -> Result<Running, Failure> {
        let mut text =
            format!("[log]\nrequests = true\n\n[listeners.local]\naddress = \"{address}\"\n");
        let mut files = HashMap::new();
        for scene in scenes {
            text.push_str(&scene.configuration);
            files.extend(
                scene
                    .files
                    .iter()
                    .map(|(name, text)| (name.into(), text.clone())),
            );
        }
        let loaded = config::parse("the demo", &text, Path::new(""), &Store::Memory(files))?;
        telemetry::start(loaded.config.log);
        Ok(app::start(loaded.config, Clock::system())?)
    }

    /// Makes a call as a tool would, and prints what the operator can paste.
    fn show(scene: &Scene, address: SocketAddr) -> Result<(), Failure> {
        let url = |path: &str| format!("http://{address}/{}{path}", scene.name);
        let first = scene.paths.first().ok_or("a scene has a path")?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (status, body) = runtime.block_on(get(address, &format!("/{}{first}", scene.name)))?;
        println!("{}, emulated. Configured with:", scene.about);
        println!("{}", indented(&scene.configuration));
        println!("A plain GET {} was answered {status}:", url(first));
        println!("{}\n", indented(&start_of(&body)));
        if status != StatusCode::OK {
            return Err("the demo's own call failed; the log above says why".into());
        }
        println!("Try it:");
        for path in scene.paths {
            println!("    curl '{}'", url(path));
        }
        println!(
            "    curl -i -H 'Authorization: Basic eA==' '{}'\n",
            url(first)
        );
        Ok(())
    }

    async fn get(address: SocketAddr, path: &str) -> Result<(StatusCode, String), Failure> {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driven = tokio::spawn(connection);
        let request = Request::get(path)
            .header("host", address.to_string())
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        drop(sender);
        driven.await??;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    fn indented(text: &str) -> String {
        text.trim()
            .lines()
            .map(|line| format!("    {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn start_of(body: &str) -> String {
        const SHOWN: usize = 300;
        match body.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{} …", &body[..end]),
            None => body.to_owned(),
        }
    }
}
