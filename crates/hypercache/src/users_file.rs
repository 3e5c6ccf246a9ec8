//! The users a node begins with, from `aclfile` or the directive `user`, and the file that `ACL SAVE` writes.

use crate::config::Directives;
use commands::acl::Users;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The users of the configuration: those of the file if there is one, else the default user with `requirepass` and the
/// users that the directive `user` describes.
pub(crate) fn first_users(directives: &Directives, file: Option<&Path>) -> Result<Users, String> {
    let all_channels = directives.acl_pubsub_default() == "allchannels";
    if let Some(path) = file {
        let name = path.display().to_string();
        let text = std::fs::read(path).map_err(|error| format!("cannot read the aclfile {name}: {error}"))?;
        return Users::from_file(&name, &text, all_channels);
    }
    let text: String = directives.users().iter().map(|line| format!("user {line}\n")).collect();
    let mut users = Users::from_file("user", text.as_bytes(), all_channels)?;
    let password = directives.requirepass();
    // As in Redis: a line for the default user comes after requirepass.
    if !directives.users().iter().any(|line| line.split_whitespace().next() == Some("default")) {
        users.set_default_password(password.expose().as_bytes());
    }
    Ok(users)
}

/// Replaces the content of the file: a temporary file beside it, sync, rename, sync of the directory.
pub(crate) fn save(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".tmp-{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let outcome = write(&temporary, text).and_then(|()| std::fs::rename(&temporary, path));
    if outcome.is_err() {
        // What is left of it helps nobody; the first error is the one to tell.
        let _ignored = std::fs::remove_file(&temporary);
        return outcome;
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    // Digests of passwords are nobody else's business.
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn users(flags: &[(&str, &str)]) -> Result<Users, String> {
        let config = Config::with(flags).expect("right flags");
        let file = config.directives.aclfile();
        first_users(&config.directives, file.as_deref())
    }

    #[test]
    fn users_of_the_configuration() {
        let both = users(&[("requirepass", "pw"), ("user", "alice on >a ~* +@all\nbob off")]).expect("right");
        assert_eq!(both.iter().len(), 3);
        assert!(
            both.authenticate(b"default", b"pw").is_some() && both.authenticate(b"alice", b"a").is_some()
        );
        let own = users(&[("requirepass", "pw"), ("user", "default on >other +@all ~*")]).expect("right");
        assert!(
            own.authenticate(b"default", b"pw").is_none() && own.authenticate(b"default", b"other").is_some()
        );
        let wrong = users(&[("user", "alice +nosuch")]).expect_err("an unknown command");
        assert!(wrong.contains("Unknown command or category name in ACL"), "{wrong}");
    }

    #[test]
    fn a_file_is_written_whole_and_read_again() {
        let dir = std::env::temp_dir().join(format!("hypercache-users-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let path = dir.join("users.acl");
        let flag = path.display().to_string();
        assert!(users(&[("aclfile", &flag)]).is_err(), "there is none yet");
        let mut saved = users(&[("user", "alice on >a ~* +@all")]).expect("right");
        save(&path, &saved.to_file()).expect("written");
        saved.set_default_password(b"x");
        save(&path, &saved.to_file()).expect("written again");
        assert_eq!(users(&[("aclfile", &flag)]), Ok(saved));
        assert_eq!(std::fs::read_dir(&dir).expect("a directory").count(), 1, "nothing is left behind");
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
