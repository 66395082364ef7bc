//! Icecast, with one source.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::peers::{free_address, wait_for};
use crate::process::{Core, Process, can_pin};
use crate::site::Site;

const PROGRAM: &str = "icecast2";

pub(crate) struct Icecast {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

impl Icecast {
    pub(crate) fn is_installed() -> bool {
        let mut command = Command::new(PROGRAM);
        command.arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    }

    pub(crate) fn start(site: &Site, listeners: usize) -> Self {
        let address = free_address();
        let (configuration, logs) = (site.path("icecast.xml"), site.path("icecast-logs"));
        fs::create_dir_all(&logs).unwrap();
        fs::write(&configuration, text(address, listeners, &logs.display().to_string())).unwrap();
        // It does not stay root, and has to reach its logs all the same.
        let allow = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        allow(&site.path(""), 0o711).unwrap();
        allow(&logs, 0o777).unwrap();
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(&configuration);
        let process = Process::start(&command, can_pin().then_some(Core::Server));
        wait_for(address);
        Self { process, address }
    }

    /// Where a producer writes.
    pub(crate) fn source(&self) -> impl Write + Send + use<> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "SOURCE /live HTTP/1.0\r\nAuthorization: Basic c291cmNlOmhhY2ttZQ==\r\n\
             Content-Type: audio/mpeg\r\n\r\n"
        )
        .unwrap();
        let mut answer = [0; 512];
        let length = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(answer.contains("200"), "{answer}");
        stream
    }
}

fn text(address: SocketAddr, listeners: usize, logs: &str) -> String {
    format!(
        "<icecast>\
         <limits><clients>{clients}</clients><sources>2</sources>\
         <queue-size>1048576</queue-size><client-timeout>30</client-timeout>\
         <header-timeout>15</header-timeout><source-timeout>10</source-timeout>\
         <burst-size>0</burst-size></limits>\
         <authentication><source-password>hackme</source-password>\
         <admin-user>a</admin-user><admin-password>hackme</admin-password></authentication>\
         <hostname>localhost</hostname>\
         <listen-socket><port>{port}</port><bind-address>{ip}</bind-address></listen-socket>\
         <fileserve>0</fileserve>\
         <paths><basedir>{logs}</basedir><logdir>{logs}</logdir><webroot>{logs}</webroot>\
         <adminroot>{logs}</adminroot></paths>\
         <logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog><loglevel>1</loglevel>\
         </logging>\
         <security><chroot>0</chroot>\
         <changeowner><user>nobody</user><group>nogroup</group></changeowner></security>\
         </icecast>",
        clients = listeners + 10,
        port = address.port(),
        ip = address.ip(),
    )
}
