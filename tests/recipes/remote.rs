//! The host `nas`: a real sshd on this machine, with its own keys, that gives each session a home in this place.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, getuid, kill_process};

use crate::support::place::{Place, wait};
use crate::support::{dump, has_tools, wait_until, write_executable};

/// A machine that the shell of the place reaches as `ssh nas`.
struct Nas {
    place: Place,
    home: PathBuf,
    daemon: Child,
}

impl Drop for Nas {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Nas {
    /// None if there is no ssh here.
    fn new(what: &str) -> Option<Self> {
        if !has_tools(what, &["ssh", "sshd", "ssh-keygen"]) {
            return None;
        }
        let place = Place::with_library();
        let root = place.root().to_owned();
        let home = root.join("nas");
        std::fs::create_dir_all(home.join(".vpo")).unwrap();
        std::fs::create_dir(home.join("backups")).unwrap();
        place.make_library(&home.join(".vpo/library.db"), 150);
        place
            .sh("set -e; cd ..
                ssh-keygen -q -t ed25519 -N '' -f host_key
                ssh-keygen -q -t ed25519 -N '' -f key
                cp key.pub authorized_keys")
            .ok();
        write_executable(
            &root.join("session"),
            format!(
                "#!/bin/sh\nPATH={bin}:$PATH; export PATH\ncd; echo $PPID >>../sessions\n\
                 exec sh -c \"$SSH_ORIGINAL_COMMAND\"\n",
                bin = root.join("bin").display(),
            )
            .as_bytes(),
        );
        // sshd wants this directory when root starts it; its own service makes it just so.
        if getuid().is_root() {
            let _ = std::fs::create_dir("/run/sshd");
        }
        let (daemon, port) = start(&root);
        let user = place.sh("id -un").ok();
        let host_key = std::fs::read_to_string(root.join("host_key.pub")).unwrap();
        std::fs::write(root.join("known_hosts"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        // The key exchange is the cheapest: each connection pays for it.
        let config = format!(
            "Host nas\n HostName 127.0.0.1\n Port {port}\n User {user} IdentityFile {root}/key\n IdentitiesOnly yes\n \
             UserKnownHostsFile {root}/known_hosts\n GlobalKnownHostsFile /dev/null\n StrictHostKeyChecking yes\n \
             BatchMode yes\n ControlPath none\n KexAlgorithms curve25519-sha256\n",
            root = root.display()
        );
        std::fs::write(root.join("ssh_config"), config).unwrap();
        let ssh = place.sh("command -v ssh").ok();
        let script = format!(
            "#!/bin/sh\nexec {} -F {}/ssh_config \"$@\"\n",
            ssh.trim(),
            root.display()
        );
        place.add_program("ssh", &script);
        Some(Nas { place, home, daemon })
    }

    fn library(&self) -> PathBuf {
        self.home.join(".vpo/library.db")
    }

    /// What is in the backup directory there.
    fn kept(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.home.join("backups")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// The process there that is a `vpo-verify`.
    fn verify(&self) -> Option<PathBuf> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let is = |process: &Path, what: &str, path: &Path| {
            std::fs::read_link(process.join(what)).is_ok_and(|link| link == *path)
        };
        let executable = Path::new(env!("CARGO_BIN_EXE_vpo-verify")).canonicalize().unwrap();
        processes
            .into_iter()
            .find(|process| is(process, "cwd", &self.home) && is(process, "exe", &executable))
    }
}

/// Starts sshd on a port that is free; another process may take it first, so it is tried again.
fn start(root: &Path) -> (Child, u16) {
    for _ in 0..10 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // The home is set before the login shell starts: one with its own ~/.bashrc is nobody's test.
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {root}/host_key\nPidFile none\n\
             AuthorizedKeysFile {root}/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nForceCommand {root}/session\n\
             SetEnv HOME={root}/nas TMPDIR={root}/tmp LC_ALL=C.UTF-8\n",
            root = root.display()
        );
        std::fs::write(root.join("sshd_config"), config).unwrap();
        let mut daemon = Command::new("/usr/sbin/sshd")
            .args(["-D", "-E"])
            .arg(root.join("sshd.log"))
            .arg("-f")
            .arg(root.join("sshd_config"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut answers = false;
        wait_until("sshd answers or ends", || {
            answers = TcpStream::connect(("127.0.0.1", port)).is_ok();
            answers || daemon.try_wait().unwrap().is_some()
        });
        if answers && daemon.try_wait().unwrap().is_none() {
            return (daemon, port);
        }
    }
    let log = std::fs::read_to_string(root.join("sshd.log")).unwrap_or_default();
    panic!("sshd does not start: {log}");
}

#[test]
fn a_remote_library_is_packed_here() {
    let Some(nas) = Nas::new("ssh: snapshot there, archive here") else {
        return;
    };
    let place = &nas.place;
    std::fs::create_dir(place.path("backups")).unwrap();
    let there = dump(&nas.library());
    for ran in [
        place.recipe("ssh nas vpo-snapshot | vpo-pack --source nas:/srv/vpo/library.db | vpo-verify --save backups/"),
        place.manual("ssh nas 'vpo-snapshot | vpo-pack --source nas:/srv/vpo/library.db' | vpo-verify --save backups/"),
    ] {
        let report = ran.ok();
        assert!(report.starts_with("ok  backups/vpo-library-"), "{report}");
        assert!(report.contains("150 files"), "{report}");
        let archive = report.split_whitespace().nth(1).unwrap();
        place.sh(&format!("vpo-unpack-restore -q --db copy.db {archive}")).ok();
        assert!(dump(&place.path("copy.db")) == there);
        std::fs::remove_file(place.path("copy.db")).unwrap();
    }
    let listed = place
        .sh("vpo-ls-backups --names --source nas:/srv/vpo/library.db backups")
        .ok();
    assert_eq!(listed.lines().count(), 2);
    place.clean();
}

#[test]
fn a_local_library_is_stored_there() {
    let Some(nas) = Nas::new("ssh: snapshot here, archive there") else {
        return;
    };
    let place = &nas.place;
    for ran in [
        place.recipe("vpo-library backup -o - | ssh nas vpo-verify --save backups/"),
        place.readme("vpo-snapshot | vpo-pack | ssh nas vpo-verify --save backups/"),
        place.manual(
            "vpo-snapshot | vpo-pack --source \"$(uname -n):$HOME/.vpo/library.db\" |
                 ssh nas vpo-verify --save backups/",
        ),
    ] {
        let report = ran.ok();
        assert!(report.starts_with("ok  backups/vpo-library-"), "{report}");
    }
    assert_eq!(nas.kept().len(), 3);
    // What the wrapper says of itself is what the recipe says.
    let kept = place.sh("ssh nas vpo-ls-backups --names --source \"$(uname -n):$HOME/.vpo/library.db\" backups");
    assert_eq!(kept.ok().lines().count(), 2);
    place.sh("ssh nas vpo-verify -q backups").ok();
    if has_tools("jq", &["jq"]) {
        let table = place.manual(
            "ssh nas vpo-ls-backups --json backups |
                 jq -r '.backups[] | [.created_at, .file_count] | @tsv'",
        );
        assert!(table.ok().ends_with("Z\t100\n"));
    }
    place.clean();
}

#[test]
fn a_connection_that_is_cut_leaves_nothing() {
    let Some(nas) = Nas::new("ssh: a connection that is cut") else {
        return;
    };
    let place = &nas.place;
    let archive = place.sh("vpo-library backup -q -o x.tar.gz && cat x.tar.gz >whole && wc -c <x.tar.gz");
    let length: usize = archive.ok().trim().parse().unwrap();
    let bytes = std::fs::read(place.path("whole")).unwrap();
    assert_eq!(bytes.len(), length);

    for side in ["the client is killed", "the server's session is killed"] {
        let script = "exec ssh nas vpo-verify --save backups/";
        let mut command = place.command("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).process_group(0);
        let mut client = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut pipe = client.stdin.take().unwrap();
        // All but the last byte: only the end is missing.
        pipe.write_all(&bytes[..length - 1]).unwrap();
        let mut process = None;
        wait_until("vpo-verify runs there", || {
            process = nas.verify();
            process.is_some()
        });
        let process = process.unwrap();
        wait_until("what was sent has arrived there", || {
            let io = std::fs::read_to_string(process.join("io")).unwrap_or_default();
            let read = io.lines().find_map(|line| line.strip_prefix("rchar: "));
            read.is_some_and(|read| read.parse::<usize>().unwrap() >= length - 1)
        });
        let victim = match side {
            "the client is killed" => Pid::from_child(&client),
            _ => {
                let sessions = std::fs::read_to_string(place.root().join("sessions")).unwrap();
                Pid::from_raw(sessions.lines().last().unwrap().parse().unwrap()).unwrap()
            }
        };
        kill_process(victim, Signal::KILL).unwrap();
        assert_ne!(wait(&mut client, side), 0);
        wait_until("vpo-verify has ended there", || nas.verify().is_none());
        assert_eq!(nas.kept(), Vec::<PathBuf>::new(), "{side}");
        drop(pipe);
    }
    // So it is with a sender that dies by itself, whatever the shell makes of it.
    let died = place.sh("head -c 1000 x.tar.gz | ssh nas vpo-verify --save backups/");
    died.ends(46);
    assert_eq!(nas.kept(), Vec::<PathBuf>::new());
    place.clean();
    place
        .sh("ssh nas vpo-verify --save backups/library.tar.gz <x.tar.gz")
        .ok();
    place.manual("ssh nas vpo-verify backups/library.tar.gz").ok();
}

#[test]
fn an_archive_from_there_is_restored_here() {
    let Some(nas) = Nas::new("ssh: archive there, restore here") else {
        return;
    };
    let place = &nas.place;
    place.sh("vpo-library backup -o - | ssh nas 'cat >x.tar.gz'").ok();
    let before = place.accident();
    place.recipe("ssh nas cat x.tar.gz | vpo-unpack-restore --yes").ok();
    place.recovered(&before);

    place.sh("ssh nas cp x.tar.gz backups/").ok();
    place.accident();
    let lost = place.manual("ssh nas cat backups/x.tar.gz | vpo-diff - ~/.vpo/library.db");
    assert_eq!(lost.ends(1).stdout.lines().count(), 50);
    place
        .recipe("ssh nas cat backups/x.tar.gz | vpo-library restore --yes -")
        .ok();
    place.recovered(&before);

    place.accident();
    place
        .manual("ssh nas cat x.tar.gz | vpo-unpack-restore --yes --safety-dir ~/replaced")
        .ok();
    place.recovered(&before);
    assert_eq!(place.sh("vpo-ls-backups --names | grep -c replaced").ok(), "2\n");

    // Without a terminal nobody can be asked.
    place.accident();
    let asked = place.sh("ssh nas cat x.tar.gz | vpo-unpack-restore").ends(1);
    assert!(asked.stderr.contains("hint: --yes"), "{}", asked.stderr);

    place.sh("ssh nas vpo-library backup -q").ok();
    let there = dump(&nas.library());
    place
        .manual(
            "path=$(ssh nas vpo-ls-backups --json | jq -er 'first(.backups[]
                 | select((.error or .replaced) | not) | .path)') &&
             ssh nas cat \"$path\" | vpo-unpack-restore --yes",
        )
        .ok();
    place.recovered(&there);
    place.clean();
}

#[test]
fn a_library_there_is_replaced() {
    let Some(nas) = Nas::new("ssh: archive here, restore there") else {
        return;
    };
    let place = &nas.place;
    let here = dump(&place.library());
    place.sh("vpo-library backup -q -o nas.tar.gz").ok();
    place.recipe("ssh nas vpo-unpack-restore --yes < nas.tar.gz").ok();
    assert!(dump(&nas.library()) == here);

    // From one machine to another, with no file in between; both are the same one here.
    std::fs::rename(nas.library(), nas.home.join("old.db")).unwrap();
    let line = "ssh old 'vpo-snapshot | vpo-pack' | ssh new vpo-unpack-restore --yes";
    place
        .manual_as(line, "ssh old 'vpo-snapshot", "ssh nas 'vpo-snapshot old.db")
        .ends(255);
    place
        .sh(&line
            .replace("ssh old 'vpo-snapshot", "ssh nas 'vpo-snapshot old.db")
            .replace("ssh new", "ssh nas"))
        .ok();
    assert!(dump(&nas.library()) == here);
    place
        .manual_as("ssh nas vpo-snapshot | vpo-pack > nas.tar.gz", "> nas", "> again")
        .ok();
    place.sh("vpo-verify -q again.tar.gz").ok();
    let line = "ssh nas vpo-snapshot | vpo-pack --source nas:/srv/vpo/library.db > nas.tar.gz";
    place.manual_as(line, "> nas", "> named").ok();
    let source = "tar xOzf named.tar.gz backup_metadata.json | jq -r .source_path";
    assert_eq!(place.sh(source).ok(), "/srv/vpo/library.db\n");
    place.clean();
}

/// A NAS as the README has it: the programs are in `~/bin`, where neither ssh nor cron looks.
#[test]
fn programs_that_are_not_on_the_path_there() {
    let Some(nas) = Nas::new("ssh: programs in ~/bin there") else {
        return;
    };
    let place = &nas.place;
    // No links: the wrapper would find its siblings where they lead to.
    place
        .sh("cd ../nas && mkdir bin && { cp -lL ../bin/vpo-* bin || cp -L ../bin/vpo-* bin; }")
        .ok();
    // As cron starts the lines of a crontab.
    for (when, line) in [
        (
            "15 3 * * *  ",
            "bin/vpo-library backup --quiet --verify --log .vpo/backup.log",
        ),
        (
            "15 5 * * 0  ",
            "bin/vpo-library prune --quiet --yes --keep-daily 7 --keep-weekly 5 --keep-monthly 12",
        ),
    ] {
        let cron = "cd ../nas && env -i HOME=\"$PWD\" PATH=/usr/bin:/bin ";
        let ran = place.readme_as(&format!("{when}{line}"), when, cron);
        assert_eq!((ran.status, ran.stdout, ran.stderr), (0, String::new(), String::new()));
    }
    let log = std::fs::read_to_string(nas.home.join(".vpo/backup.log")).unwrap();
    assert!(
        log.lines().count() == 1 && log.contains("\"outcome\":\"success\""),
        "{log}"
    );
    assert_eq!(std::fs::read_dir(nas.home.join(".vpo/backups")).unwrap().count(), 1);
    for line in [
        "vpo-library backup -o - | ssh nas vpo-verify --save backups/",
        "ssh nas vpo-snapshot | vpo-pack --source nas:/srv/vpo/library.db | ssh nas vpo-verify --save backups/",
    ] {
        place.sh(&line.replace("ssh nas ", "ssh nas bin/")).ok();
    }
    assert_eq!(nas.kept().len(), 2);
    place.clean();
}
