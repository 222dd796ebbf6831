use proptest::prelude::*;

use super::*;

#[test]
fn secrets_are_left_out() {
    for line in [
        "K3S_TOKEN=hunter2 failed",
        "k3s server --token hunter2 --rootless",
        "k3s server --token=hunter2",
        "token: hunter2",
        "\"token\": \"hunter2\", \"a\": 1",
        "{\"password\":\"hunter2\"}",
        "password=\"a hunter2 b\" c",
        "Authorization: Bearer hunter2",
        "\"Authorization\": [\"Basic hunter2\"]",
        "header Bearer hunter2 refused",
        "pull https://me:hunter2@registry/x",
        "GET /v1?access_token=hunter2&x=1",
        "err=\"token=hunter2 is wrong\"",
        "K10abc::server:hunter2",
        "node-token K10hunter2::node:x",
        "jwt eyJhunter2.eyJ.x",
        "env DB_PASS = hunter2",
        "ds=nocloud;api_key=hunter2",
        "\"token\" : \"hunter2\", \"a\": 1",
        "\"token\"  :  \"hunter2\"",
        "token :hunter2",
        "\"auth\": \"hunter2\"",
        "client-key-data: hunter2",
        "Cookie: session=hunter2",
        "Cookie: a=b; session=hunter2; c=hunter2",
        "\"Cookie\":[\"session=hunter2\"]",
        "login with password hunter2 failed",
        "msg=\"password 'a hunter2' is wrong\"",
        "GET /v1?token%3Dhunter2",
        "GET /v1?x%3D1%26password%3dhunter2",
        "token\\u003dhunter2",
        "password\\u003Ahunter2",
        "login as glpat-hunter2 failed",
        "{\"identitytoken\":\"hunter2\"}",
        "\"registrytoken\": \"hunter2\"",
        "export K3S_TOKEN hunter2",
        "secretkey: hunter2",
        "secret_key: hunter2",
        "apikey: hunter2",
        "\"apikey\":\"hunter2\"",
        "db_pwd=hunter2",
        "DB_PWD: hunter2",
        "DB_PASS: hunter2",
        "curl -u me:hunter2 https://x",
        "curl -u \"me:a hunter2\" https://x",
        "curl --user=me:hunter2",
        "args: \"-u\", \"me:hunter2\"",
        "skopeo copy --src-creds me:hunter2 --dest-creds=me:hunter2",
        "podman login -u me -p hunter2 quay.io",
        "podman login -u me -phunter2 quay.io",
        "podman login -p 'a hunter2' quay.io",
        "https://x/ghp_hunter2",
        "user/gho_hunter2 ghs_hunter2 ghu_hunter2 ghr_hunter2 github_pat_hunter2 dckr_pat_hunter2",
    ] {
        let text = without_secrets(line);
        assert!(!text.contains("hunter2"), "{line}: {text}");
    }
    for line in ["kubeadm join --token abcdef.0123456789abcdef", "token abcdef.0123456789abcdef"] {
        assert!(!without_secrets(line).contains("0123456789abcdef"), "{line}");
    }
}

#[test]
fn keys_of_aws_are_left_out() {
    for key in ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"] {
        for line in
            [format!("access key {key} refused"), format!("Credential={key}/20260101"), format!("({key})")]
        {
            assert!(!without_secrets(&line).contains(key), "{line}");
        }
    }
}

#[test]
fn messages_stay_as_they_are() {
    for line in [
        "certificate-authority-data: LS0tLS1CRUdJTg==",
        "sudo: a password is required",
        "the password, which nobody knows",
        "token was 5 % of it: 100%",
        "C:\\users AKIA AKIAlpha",
        "time=\"2026-01-01T10:00:00Z\" level=fatal msg=\"failed to find cpuset cgroup (v2)\"",
        "unable to join session keyring: unable to create session key: disk quota exceeded",
        "sd-bus call: Interactive authentication required.: Permission denied",
        "unauthorized: authentication required",
        "podman run -p 8080:80 -u 1000:1000 nginx",
        "login shell: podman run -p 127.0.0.1:8080:80 -u 0 nginx",
        "podman login -u me quay.io",
        "systemctl --user status web.service",
        "journalctl -u k3s-rootless.service",
        "PWD=/home/edge OLDPWD=/srv",
        "K3S_TOKEN is required, K3S_TOKEN must be set, K3S_TOKEN environment variable",
        "--- PASS: TestKube (0.01s)",
        "mkdir -p /srv/data",
        "x509: certificate has expired or is not yet valid: current time 1970-01-01T00:00:13Z",
        "E0101 10:00:00.000000 1 kubelet.go:1] \"Failed\" err=\"open /dev/kmsg: operation not permitted\"",
    ] {
        assert_eq!(without_secrets(line), line);
    }
}

#[test]
fn long_lines_are_cut_around_the_message() {
    let line = format!("{} the message {}", "before ".repeat(100), "after ".repeat(100));
    let text = excerpt(line.as_bytes(), line.find("the message").unwrap());
    assert!(text.starts_with("...before ") && text.contains("the message after"), "{text}");
    assert!(text.ends_with("...") && text.chars().count() <= SHOWN + 6, "{text}");
    assert_eq!(excerpt(b"  a short\x07 line ", 4), "a short\u{fffd} line");
    for length in [500, 5000] {
        let word = format!("{}message", "x".repeat(length));
        assert!(excerpt(word.as_bytes(), length).starts_with("...message"));
    }
    let word = format!("token={} message", "hunter2".repeat(100));
    assert_eq!(excerpt(word.as_bytes(), word.len() - 7), "...message");
}

#[test]
fn separators_without_end_are_read_in_a_moment() {
    for separator in ["=", ":", "%3d", "K10=", "\\"] {
        let many = separator.repeat(65_000);
        let text = excerpt(format!("message {many}").as_bytes(), 0);
        assert!(text.starts_with("message") && text.ends_with("..."), "{text}");
        let text = excerpt(format!("{many} message").as_bytes(), many.len() + 1);
        assert_eq!(text, "...message");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_stop(line in proptest::collection::vec(any::<u8>(), 0..400), at in 0usize..400) {
        let text = excerpt(&line, at.min(line.len()));
        prop_assert!(text.chars().count() <= SHOWN + 6);
        prop_assert!(!text.chars().any(char::is_control));
    }

    #[test]
    fn nor_do_words(line in "(token|=|:|\"|'| |--|Bearer|pass|,|x|é){0,40}") {
        let _ = without_secrets(&line);
    }
}
