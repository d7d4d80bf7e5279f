use super::*;

const ALONE: Surroundings<'_> = Surroundings { in_user_namespace: false, label: None };

fn planned_in(json: &str, around: Surroundings<'_>) -> Result<MountPlan, Error> {
    plan(3, &serde_json::from_str(json).unwrap(), around)
}

fn planned(json: &str) -> MountPlan {
    planned_in(json, ALONE).unwrap()
}

fn refused(json: &str) -> String {
    planned_in(json, ALONE).unwrap_err().to_string()
}

#[test]
fn destinations_are_clean_and_absolute() {
    let at = |path: &str| planned(&format!(r#"{{"destination":{path:?},"type":"tmpfs"}}"#)).destination;
    assert_eq!(at("a/b"), Path::new("/a/b"));
    assert_eq!(at("/a//b/./c/../../../../d"), Path::new("/d"));
    for root in ["/", "", ".", "/a/.."] {
        let error = refused(&format!(r#"{{"destination":{root:?},"type":"tmpfs"}}"#));
        assert!(error.starts_with("mounts[3].destination: "), "{error}");
    }
}

#[test]
fn nothing_but_a_procfs_is_mounted_on_proc() {
    for (destination, kind) in
        [("/proc", "tmpfs"), ("/proc/", "cgroup"), ("/proc/self/attr", "tmpfs"), ("/x/../proc/sys", "tmpfs")]
    {
        let error = refused(&format!(r#"{{"destination":{destination:?},"type":{kind:?}}}"#));
        assert!(error.starts_with("mounts[3].destination: ") && error.contains("/proc"), "{error}");
    }
    let error = refused(r#"{"destination":"/proc/sysrq-trigger","source":"/x","options":["bind"]}"#);
    assert!(error.starts_with("mounts[3].destination: "), "{error}");
    planned(r#"{"destination":"/proc","type":"proc"}"#);
    planned(r#"{"destination":"/proc/meminfo","source":"/var/lib/lxcfs/meminfo","options":["bind"]}"#);
    planned(r#"{"destination":"/process","type":"tmpfs"}"#);
}

#[test]
fn bind_mounts_are_told_by_their_options() {
    let bind = |json: &str| match planned(json).kind {
        MountKind::Bind { source, recursive, .. } => (source, recursive),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        bind(r#"{"destination":"/a","type":"none","source":"rel","options":["rbind"]}"#),
        (PathBuf::from("rel"), true)
    );
    assert_eq!(bind(r#"{"destination":"/a","type":"tmpfs","source":"/b","options":["bind"]}"#), ("/b".into(), false));
    assert_eq!(bind(r#"{"destination":"/a","type":"bind","source":"/b"}"#), ("/b".into(), false));
    let error = refused(r#"{"destination":"/a","options":["bind"]}"#);
    assert!(error.starts_with("mounts[3].source: "), "{error}");
    let error = refused(r#"{"destination":"/a","source":"/b","options":["bind","roo"]}"#);
    assert!(error.starts_with("mounts[3].options: \"roo\""), "{error}");
    assert_eq!(bind(r#"{"destination":"/a","source":"/b","options":["bind","size=1k"]}"#), ("/b".into(), false));
    let error = refused(r#"{"destination":"/a","source":"/b"}"#);
    assert_eq!(error, "mounts[3].type: missing");
}

#[test]
fn idmaps_are_refused_by_field() {
    let user = Surroundings { in_user_namespace: true, label: None };
    let map = r#"[{"containerID":0,"hostID":1000,"size":1}]"#;
    let bind = |rest: &str| format!(r#"{{"destination":"/a","source":"/b","options":["bind","idmap"]{rest}}}"#);
    assert!(refused(&bind("")).starts_with("mounts[3].uidMappings: "));
    assert!(refused(&bind(&format!(r#","uidMappings":{map}"#))).starts_with("mounts[3].gidMappings: missing"));
    assert!(refused(&bind(&format!(r#","gidMappings":{map}"#))).starts_with("mounts[3].uidMappings: missing"));
    assert!(refused(&bind(r#","uidMappings":[],"gidMappings":[]"#)).starts_with("mounts[3].uidMappings: "));
    let both = bind(&format!(r#","uidMappings":{map},"gidMappings":{map}"#));
    assert!(matches!(
        planned(&both).kind,
        MountKind::Bind { idmap: Some(MountIdmap::Own { recursive: false, .. }), .. }
    ));
    let kind = planned_in(&bind(""), user).unwrap().kind;
    assert!(matches!(kind, MountKind::Bind { idmap: Some(MountIdmap::Container { recursive: false }), .. }));
    for wrong in [
        format!(r#"{{"destination":"/a","type":"tmpfs","uidMappings":{map},"gidMappings":{map}}}"#),
        r#"{"destination":"/a","type":"tmpfs","options":["idmap"]}"#.to_owned(),
        r#"{"destination":"/a","source":"/a","options":["bind","remount","idmap"]}"#.to_owned(),
    ] {
        let error = planned_in(&wrong, user).unwrap_err().to_string();
        assert!(error.starts_with("mounts[3].uidMappings: only bind"), "{error}");
    }
    let out = bind(
        r#","uidMappings":[{"containerID":0,"hostID":4294967295,"size":2}],"gidMappings":[{"containerID":0,"hostID":0,"size":1}]"#,
    );
    assert!(refused(&out).starts_with("mounts[3].uidMappings[0]: "), "{}", refused(&out));
}

#[test]
fn options_reach_the_file_system() {
    let options = |json: &str, label| match planned_in(json, Surroundings { label, ..ALONE }).unwrap().kind {
        MountKind::New { options, .. } | MountKind::Remount { options } => options
            .into_iter()
            .map(|(key, value)| value.map_or(key.clone(), |value| format!("{key}={value}")))
            .collect::<Vec<_>>()
            .join(" "),
        other => panic!("{other:?}"),
    };
    let json =
        r#"{"destination":"/a","type":"tmpfs","source":"tmpfs","options":["ro","sync","async","lazytime","size=1k"]}"#;
    assert_eq!(options(json, None), "source=tmpfs lazytime size=1k");
    assert_eq!(options(json, Some("a:b:c")), "source=tmpfs lazytime size=1k context=a:b:c");
    assert_eq!(options(r#"{"destination":"/proc","type":"proc"}"#, Some("a:b:c")), "");
    let disk = r#"{"destination":"/a","type":"ext4","source":"/dev/x","options":["ro"]}"#;
    assert_eq!(options(disk, None), "ro source=/dev/x");
    let remount = r#"{"destination":"/a","options":["remount","async","size=2k","ro"]}"#;
    assert_eq!(options(remount, None), "async size=2k");
    let layer = format!("/{}", "l".repeat(130));
    let long = format!(r#"{{"destination":"/a","type":"overlay","options":["lowerdir={layer}:{layer}:/a\\:b"]}}"#);
    assert_eq!(options(&long, None), format!("lowerdir+={layer} lowerdir+={layer} lowerdir+=/a:b"));
}

#[test]
fn words_that_do_not_fit_are_refused() {
    for json in [
        r#"{"destination":"/a","source":"/b","options":["bind","tmpcopyup"]}"#,
        r#"{"destination":"/a","type":"tmpfs","options":["copy-symlink"]}"#,
        r#"{"destination":"/a","source":"/b","options":["bind","copy-symlink","src-nofollow"]}"#,
    ] {
        assert!(refused(json).starts_with("mounts[3].options: "), "{}", refused(json));
    }
}
