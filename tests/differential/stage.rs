use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use testkit::{
    client::{Client, Request, Version},
    process::{Proxy, binary, free_port},
    tls::Tls,
    wait::wait_for,
};
use tokio::net::TcpStream;

use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Go,
    Ours,
}

/// Programs that are started with the same flags, each alone in its world.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) proxy: Proxy,
    pub(crate) address: SocketAddr,
}

impl Stage {
    /// `how` is what a shell makes of the command.
    pub(crate) async fn new(program: Program, go: &Path, flags: &[&str], own: &[&str], how: &str) -> Self {
        let (world, address) = (World::new().await, SocketAddr::from(([127, 0, 0, 1], free_port())));
        world.api.user("token-of-alice", "alice", &[]);
        let path: PathBuf = if program == Program::Go { go.to_owned() } else { binary().to_owned() };
        let mut command = vec![
            "sh".to_owned(),
            "-c".to_owned(),
            format!("{}\"$0\" \"$@\" {how}", if how.is_empty() { "exec " } else { "" }),
            path.display().to_string(),
        ];
        command.extend(world.flags(flags));
        command.push(format!("--secure-listen-address={address}"));
        if program == Program::Ours {
            command.extend(own.iter().map(|&flag| flag.to_owned()));
        }
        let proxy = Proxy::start_other("setsid".as_ref(), &command, None, None, None).await;
        Self { world, proxy, address }
    }

    /// [`Stage::new`] that serves, and is the program itself.
    pub(crate) async fn serving(program: Program, go: &Path, flags: &[&str], own: &[&str]) -> Self {
        let stage = Self::new(program, go, flags, own, "").await;
        stage.wait().await;
        stage
    }

    pub(crate) async fn wait(&self) {
        wait_for("the listener", async || TcpStream::connect(self.address).await.map(drop)).await;
    }

    pub(crate) async fn get(&self, path: &str) -> Result<u16, String> {
        let mut client = Client::try_connect(Version::H1, self.address, &Tls::default()).await?;
        Ok(client.try_send(&Request::get(path).bearer("token-of-alice")).await?.status)
    }
}

impl Drop for Stage {
    /// Whatever the shell left running, too.
    fn drop(&mut self) {
        let group = format!("-{}", self.proxy.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    }
}
