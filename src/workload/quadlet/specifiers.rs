//! The specifiers of units of a user manager (`systemd.unit(5)`, "Specifiers") and paths with them.

use crate::facts::users::User;

/// The text with what systemd puts in for its specifiers; `None` where one is not known from the files.
/// XDG directories are taken to be where they are by default.
pub fn expand(text: &str, service: &str, user: &User) -> Option<String> {
    let home = user.home.trim_end_matches('/');
    let base = service.strip_suffix(".service").unwrap_or(service);
    let (prefix, instance) = base.split_once('@').unwrap_or((base, ""));
    let mut expanded = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            expanded.push(c);
            continue;
        }
        match chars.next()? {
            '%' => expanded.push('%'),
            'h' => expanded.push_str(home),
            'u' => expanded.push_str(&user.name),
            'U' => expanded.push_str(&user.uid.to_string()),
            'G' => expanded.push_str(&user.gid.to_string()),
            't' => expanded.push_str(&format!("/run/user/{}", user.uid)),
            'E' => expanded.push_str(&format!("{home}/.config")),
            'S' => expanded.push_str(&format!("{home}/.local/state")),
            'C' => expanded.push_str(&format!("{home}/.cache")),
            'n' => expanded.push_str(service),
            'N' => expanded.push_str(base),
            'p' => expanded.push_str(prefix),
            // An instance of its own file; that of a template is whatever it is started with.
            'i' if !instance.is_empty() => expanded.push_str(instance),
            _ => return None,
        }
    }
    Some(expanded)
}

/// A path as the generator makes it absolute: what begins with a specifier is taken to be, and all else is
/// below the directory of the file.
pub fn absolute(path: &str, file: &str) -> String {
    let is_specifier = path.starts_with('%') && !path.starts_with("%%");
    if is_specifier || path.starts_with('/') {
        return path.to_owned();
    }
    let dir = file.rsplit_once('/').map_or("", |(dir, _)| dir);
    let mut parts: Vec<&str> = Vec::new();
    for part in dir.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_user() {
        let user = User::example("edge", 1000);
        let of = |text, service| expand(text, service, &user);
        for (text, service, expected) in [
            ("%h/data", "web.service", "/home/edge/data"),
            ("%t/%N.pid", "web.service", "/run/user/1000/web.pid"),
            ("/srv/%u-%U/100%%", "web.service", "/srv/edge-1000/100%"),
            ("%E/%p/%i/%n", "web@a.service", "/home/edge/.config/web/a/web@a.service"),
        ] {
            assert_eq!(of(text, service).as_deref(), Some(expected));
        }
        for unknown in ["/srv/%i", "%H", "%", "%m/x"] {
            assert_eq!(of(unknown, "web@.service"), None, "{unknown}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let of = |path| absolute(path, "/home/edge/.config/containers/systemd/web.kube");
        assert_eq!(of("pods.yaml"), "/home/edge/.config/containers/systemd/pods.yaml");
        assert_eq!(of("./../a//b.yaml"), "/home/edge/.config/containers/a/b.yaml");
        assert_eq!((of("/srv/a"), of("%h/a")), ("/srv/a".to_owned(), "%h/a".to_owned()));
        assert!(of("%%/a").starts_with("/home/"));
        assert_eq!(absolute("../../a", "web.kube"), "/a");
    }
}
