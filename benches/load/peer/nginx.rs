//! nginx as a plain reverse proxy, a worker for each processor, connections to the provider kept, no access log. It
//! does nothing that a gateway must do and so is the floor of what forwarding a call costs.

use std::time::Duration;

use fs_err as fs;

use super::Running;
use crate::call::Target;
use crate::server::Server;
use crate::stage::{self, Stage};

const START_PATIENCE: Duration = Duration::from_secs(10);
const PROGRAM: &str = "/usr/sbin/nginx";

pub(super) async fn start(stage: &Stage) -> anyhow::Result<Running> {
    let folder = stage.folder("nginx")?;
    let address = stage::free_address()?;
    let provider = stage.provider();
    let configuration = format!(
        "daemon off;
user root;
worker_processes auto;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 64m;
    keepalive_requests 1000000000;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream provider {{ server {provider}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen {address};
        location / {{ proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}
    }}
}}
"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration)?;
    let mut command = stage::command(PROGRAM);
    command.arg("-e").arg("stderr").arg("-p").arg(&folder).arg("-c").arg(&file);
    let mut server = Server::start("nginx", &mut command, &folder)?;
    let target = Target::new(address, &[]);
    server.answers(&target, START_PATIENCE).await?;
    Ok(Running::without_log(version()?, target, server))
}

/// It says `nginx version: nginx/1.22.1` on standard error.
fn version() -> anyhow::Result<String> {
    let output = stage::command(PROGRAM).arg("-v").output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(said.trim().rsplit('/').next().unwrap_or_default().to_owned())
}
