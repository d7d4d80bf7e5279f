//! Mount options: the one table that says what each word means, for the parser and for `features`.

use casemate_kernel::mount::{Attributes, Propagation};

/// What an option means.
#[derive(Clone, Copy, Debug)]
enum Meaning {
    /// Nothing to do: the kernel's default, or a word with no effect on any file system of today.
    Nothing,
    Set(Attributes),
    Clear(Attributes),
    Times(Times),
    /// The same for the mount and all below it.
    SetAll(Attributes),
    ClearAll(Attributes),
    TimesAll(Times),
    Propagation(Propagation, bool),
    /// A flag of the file system, not of the mount, and the flag that is its opposite.
    Superblock(&'static str, &'static str),
    Bind(bool),
    Idmap(bool),
    Remount,
    CopyUp,
    Link(Link),
}

/// The words for access times: three modes of one field, and those that take a mode back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    Never,
    NotNever,
    Always,
    NotAlways,
    Relative,
}

/// What is done with a symbolic link that is the source or the destination of a bind mount (crun's words).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Copy,
    KeepSource,
    KeepDestination,
}

/// Sorted by name. Of the words of the specification and of `mount(8)`; all others are the file system's own.
///
/// `iversion` is on wherever a file system of Linux 6 has it, and can't be turned off; `silent` and `loud` are about the
/// kernel's log, which the new mount API leaves alone.
const OPTIONS: &[(&str, Meaning)] = {
    use Meaning::{
        Bind, Clear, ClearAll, CopyUp, Idmap, Link, Nothing, Propagation, Remount, Set, SetAll, Superblock, Times,
        TimesAll,
    };
    &[
        ("async", Superblock("async", "sync")),
        ("atime", Times(self::Times::NotNever)),
        ("bind", Bind(false)),
        ("copy-symlink", Link(self::Link::Copy)),
        ("defaults", Nothing),
        ("dest-nofollow", Link(self::Link::KeepDestination)),
        ("dev", Clear(Attributes::NO_DEV)),
        ("diratime", Clear(Attributes::NO_DIRATIME)),
        ("dirsync", Superblock("dirsync", "")),
        ("exec", Clear(Attributes::NO_EXEC)),
        ("idmap", Idmap(false)),
        ("iversion", Nothing),
        ("lazytime", Superblock("lazytime", "nolazytime")),
        ("loud", Nothing),
        ("mand", Superblock("mand", "nomand")),
        ("noatime", Times(self::Times::Never)),
        ("nodev", Set(Attributes::NO_DEV)),
        ("nodiratime", Set(Attributes::NO_DIRATIME)),
        ("noexec", Set(Attributes::NO_EXEC)),
        ("noiversion", Nothing),
        ("nolazytime", Superblock("nolazytime", "lazytime")),
        ("nomand", Superblock("nomand", "mand")),
        ("norelatime", Nothing),
        ("nostrictatime", Times(self::Times::NotAlways)),
        ("nosuid", Set(Attributes::NO_SUID)),
        ("nosymfollow", Set(Attributes::NO_SYMFOLLOW)),
        ("private", Propagation(self::Propagation::Private, false)),
        ("ratime", TimesAll(self::Times::NotNever)),
        ("rbind", Bind(true)),
        ("rdev", ClearAll(Attributes::NO_DEV)),
        ("rdiratime", ClearAll(Attributes::NO_DIRATIME)),
        ("relatime", Times(self::Times::Relative)),
        ("remount", Remount),
        ("rexec", ClearAll(Attributes::NO_EXEC)),
        ("ridmap", Idmap(true)),
        ("rnoatime", TimesAll(self::Times::Never)),
        ("rnodev", SetAll(Attributes::NO_DEV)),
        ("rnodiratime", SetAll(Attributes::NO_DIRATIME)),
        ("rnoexec", SetAll(Attributes::NO_EXEC)),
        ("rnorelatime", TimesAll(self::Times::Relative)),
        ("rnostrictatime", TimesAll(self::Times::NotAlways)),
        ("rnosuid", SetAll(Attributes::NO_SUID)),
        ("rnosymfollow", SetAll(Attributes::NO_SYMFOLLOW)),
        ("ro", Set(Attributes::READ_ONLY)),
        ("rprivate", Propagation(self::Propagation::Private, true)),
        ("rrelatime", TimesAll(self::Times::Relative)),
        ("rro", SetAll(Attributes::READ_ONLY)),
        ("rrw", ClearAll(Attributes::READ_ONLY)),
        ("rshared", Propagation(self::Propagation::Shared, true)),
        ("rslave", Propagation(self::Propagation::Slave, true)),
        ("rstrictatime", TimesAll(self::Times::Always)),
        ("rsuid", ClearAll(Attributes::NO_SUID)),
        ("rsymfollow", ClearAll(Attributes::NO_SYMFOLLOW)),
        ("runbindable", Propagation(self::Propagation::Unbindable, true)),
        ("rw", Clear(Attributes::READ_ONLY)),
        ("shared", Propagation(self::Propagation::Shared, false)),
        ("silent", Nothing),
        ("slave", Propagation(self::Propagation::Slave, false)),
        ("src-nofollow", Link(self::Link::KeepSource)),
        ("strictatime", Times(self::Times::Always)),
        ("suid", Clear(Attributes::NO_SUID)),
        ("symfollow", Clear(Attributes::NO_SYMFOLLOW)),
        ("sync", Superblock("sync", "async")),
        ("tmpcopyup", CopyUp),
        ("unbindable", Propagation(self::Propagation::Unbindable, false)),
    ]
};

/// The options this runtime knows (`mountOptions` of `features`), sorted. Any other word is passed to the file system.
pub fn option_names() -> Vec<&'static str> {
    OPTIONS.iter().map(|(name, _)| *name).collect()
}

/// The options of one mount, read.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) set: Attributes,
    pub(super) clear: Attributes,
    pub(super) set_all: Attributes,
    pub(super) clear_all: Attributes,
    pub(super) propagation: Vec<(Propagation, bool)>,
    pub(super) superblock: Vec<&'static str>,
    pub(super) bind: Option<bool>,
    pub(super) idmap: Option<bool>,
    pub(super) remount: bool,
    pub(super) copy_up: bool,
    pub(super) copy_link: bool,
    pub(super) keep_source_link: bool,
    pub(super) keep_destination_link: bool,
    pub(super) data: Vec<(String, Option<String>)>,
}

impl Options {
    pub(super) fn parse(options: &[String]) -> Self {
        let mut parsed = Self::default();
        for option in options {
            match OPTIONS.binary_search_by(|(name, _)| (*name).cmp(option.as_str())) {
                Ok(found) => parsed.apply(OPTIONS.get(found).map_or(Meaning::Nothing, |(_, meaning)| *meaning)),
                Err(_) => parsed.add_data(option),
            }
        }
        parsed
    }

    fn apply(&mut self, meaning: Meaning) {
        match meaning {
            Meaning::Nothing => {}
            Meaning::Set(attribute) => put(attribute, &mut self.set, &mut self.clear),
            Meaning::Clear(attribute) => put(attribute, &mut self.clear, &mut self.set),
            Meaning::Times(times) => put_times(times, &mut self.set, &mut self.clear),
            Meaning::SetAll(attribute) => put(attribute, &mut self.set_all, &mut self.clear_all),
            Meaning::ClearAll(attribute) => put(attribute, &mut self.clear_all, &mut self.set_all),
            Meaning::TimesAll(times) => put_times(times, &mut self.set_all, &mut self.clear_all),
            Meaning::Propagation(propagation, recursive) => self.propagation.push((propagation, recursive)),
            Meaning::Superblock(flag, opposite) => {
                self.superblock.retain(|known| *known != opposite && *known != flag);
                self.superblock.push(flag);
            }
            // "bind" beside "rbind" takes nothing back, as with mount(2)'s flags.
            Meaning::Bind(recursive) => self.bind = Some(recursive || self.bind == Some(true)),
            Meaning::Idmap(recursive) => self.idmap = Some(recursive || self.idmap == Some(true)),
            Meaning::Remount => self.remount = true,
            Meaning::CopyUp => self.copy_up = true,
            Meaning::Link(Link::Copy) => self.copy_link = true,
            Meaning::Link(Link::KeepSource) => self.keep_source_link = true,
            Meaning::Link(Link::KeepDestination) => self.keep_destination_link = true,
        }
    }

    /// An option of the file system: several with commas between them are as good as several, since mount(2) takes one
    /// string of all (SELinux contexts have commas themselves, and are quoted then).
    fn add_data(&mut self, option: &str) {
        let mut quoted = false;
        let pieces = option.split(|letter| {
            quoted ^= letter == '"';
            letter == ',' && !quoted
        });
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            self.data.push(match piece.split_once('=') {
                Some((key, value)) => {
                    let plain = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                    (key.to_owned(), Some(plain.unwrap_or(value).to_owned()))
                }
                None => (piece.to_owned(), None),
            });
        }
    }
}

fn put(attribute: Attributes, to: &mut Attributes, from: &mut Attributes) {
    *to |= attribute;
    *from = from.without(attribute);
}

fn put_times(times: Times, set: &mut Attributes, clear: &mut Attributes) {
    let mode = match times {
        Times::Never => Attributes::NO_ATIME,
        Times::Always => Attributes::STRICT_ATIME,
        // What takes a mode back leaves another one alone.
        Times::NotNever if set.contains(Attributes::STRICT_ATIME) => return,
        Times::NotAlways if set.contains(Attributes::NO_ATIME) => return,
        Times::NotNever | Times::NotAlways | Times::Relative => Attributes::empty(),
    };
    *clear |= Attributes::ACCESS_TIMES;
    *set = set.without(Attributes::ACCESS_TIMES) | mode;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Options {
        Options::parse(&options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>())
    }

    /// Every option of "Linux mount options" in `config.md` of the runtime specification 1.3.
    const OF_THE_SPECIFICATION: &str = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand \
        noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private \
        ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodiratime rnoexec rnorelatime rnostrictatime \
        rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw \
        shared silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap rnodev";

    #[test]
    fn every_option_of_the_specification_is_known() {
        assert!(OPTIONS.windows(2).all(|pair| pair[0].0 < pair[1].0), "the table is sorted");
        for option in OF_THE_SPECIFICATION.split_ascii_whitespace() {
            assert!(option_names().contains(&option), "{option}");
            assert!(parse(&[option]).data.is_empty(), "{option} is not the file system's");
        }
    }

    #[test]
    fn the_last_of_two_opposites_counts() {
        let options = parse(&["ro", "rw", "nosuid", "suid", "nosuid", "dev", "nodev", "dev"]);
        assert_eq!(options.set, Attributes::NO_SUID);
        assert_eq!(options.clear, Attributes::READ_ONLY | Attributes::NO_DEV);
        let options = parse(&["rro", "rrw", "rexec", "rnoexec"]);
        assert_eq!((options.set_all, options.clear_all), (Attributes::NO_EXEC, Attributes::READ_ONLY));
        assert_eq!(parse(&["sync", "async", "lazytime"]).superblock, ["async", "lazytime"]);
        assert_eq!(parse(&["rbind", "bind"]).bind, Some(true));
    }

    #[test]
    fn access_times_are_one_field() {
        let times = |options: &[&str]| {
            let options = parse(options);
            (options.set.only(Attributes::ACCESS_TIMES), options.clear.contains(Attributes::ACCESS_TIMES))
        };
        let (never, always, relative) = (Attributes::NO_ATIME, Attributes::STRICT_ATIME, Attributes::empty());
        assert_eq!(times(&["noatime"]), (never, true));
        assert_eq!(times(&["noatime", "strictatime"]), (always, true));
        assert_eq!(times(&["strictatime", "relatime"]), (relative, true));
        assert_eq!(times(&["noatime", "norelatime"]), (never, true));
        assert_eq!(times(&["noatime", "nostrictatime"]), (never, true));
        assert_eq!(times(&["noatime", "atime"]), (relative, true));
        assert_eq!(times(&["strictatime", "atime"]), (always, true));
        assert_eq!(times(&["nodiratime"]), (relative, false));
        let all = parse(&["rstrictatime"]);
        assert_eq!((all.set_all, all.clear_all), (always, Attributes::ACCESS_TIMES));
    }

    #[test]
    fn what_is_left_is_the_file_systems() {
        let data = |options: &[&str]| parse(options).data;
        let pair = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        assert_eq!(
            data(&["size=64k,mode=0755", "newinstance"]),
            [pair("size", Some("64k")), pair("mode", Some("0755")), pair("newinstance", None)]
        );
        assert_eq!(
            data(&["context=\"a:b:s0:c1,c2\",ro="]),
            [pair("context", Some("a:b:s0:c1,c2")), pair("ro", Some(""))]
        );
        assert_eq!(data(&["", ",,"]), []);
        assert_eq!(data(&["Ro"]), [pair("Ro", None)]);
    }
}
