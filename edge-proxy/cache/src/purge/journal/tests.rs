//! The journal alone: what is cut off, damaged, or cannot be written.

use proptest::prelude::*;

use super::*;

fn change() -> impl Strategy<Value = Change> {
    let of = prop_oneof![
        Just(Of::All),
        any::<u128>().prop_map(Of::Site),
        any::<u128>().prop_map(Of::Host),
        any::<u128>().prop_map(Of::Url),
        any::<u128>().prop_map(Of::Tag),
        any::<(u64, u64, u32)>().prop_map(|(hash, host, length)| Of::Prefix { hash, host, length }),
    ];
    prop_oneof![
        (of, any::<u64>(), any::<bool>()).prop_map(|(of, seq, soft)| Change::Raised { of, seq, soft }),
        any::<u64>().prop_map(Change::InForce),
        any::<(u64, u64)>().prop_map(|(drops, seq)| Change::Dropped { drops, seq }),
        (any::<u64>(), prop::collection::vec(any::<u128>(), 0..4)).prop_map(|(count, names)| Change::Invalidated { count, names }),
        any::<u64>().prop_map(Change::InvalidatedBefore),
        any::<u64>().prop_map(Change::GivenUp),
    ]
}

const START: Change = Change::Start { identity: 7, run: 3 };

/// A journal with these changes, each in a frame of its own; where each frame ends.
fn written(changes: &[Change]) -> (tempfile::TempDir, PathBuf, Vec<u64>) {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("journal");
    let journal = Journal::new(&path);
    journal.sync(|| journal.begin_anew([START].into_iter())).unwrap();
    let mut ends = vec![fs::metadata(&path).unwrap().len()];
    for change in changes {
        journal.append(std::slice::from_ref(change));
        ends.push(fs::metadata(&path).unwrap().len());
    }
    (data, path, ends)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cut_anywhere_it_has_every_change_that_is_whole(changes in prop::collection::vec(change(), 0..8), cut in any::<prop::sample::Index>()) {
        let (_data, path, ends) = written(&changes);
        let whole = *ends.last().unwrap();
        let cut = ends[0] + cut.index(usize::try_from(whole - ends[0]).unwrap() + 1) as u64;
        OpenOptions::new().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let kept = ends.iter().filter(|end| **end <= cut).count() - 1;
        let expected: Vec<Change> = [START].into_iter().chain(changes.into_iter().take(kept)).collect();
        prop_assert_eq!(Journal::read(&path).unwrap(), Read::Changes(expected));
    }

    #[test]
    fn a_wrong_byte_never_hides_a_change_that_another_follows(
        changes in prop::collection::vec(change(), 2..6),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let (_data, path, ends) = written(&changes);
        let mut content = fs::read(&path).unwrap();
        // Within a change that is not the last one.
        let before_last = usize::try_from(ends[ends.len() - 2]).unwrap();
        let at = at.index(before_last);
        content[at] ^= flip;
        fs::write(&path, content).unwrap();
        prop_assert_eq!(Journal::read(&path).unwrap(), Read::Nothing);
        prop_assert!(path.with_file_name("journal.damaged").exists());
    }
}

#[test]
fn what_cannot_be_appended_leaves_no_journal_until_it_is_written_anew() {
    let (_data, path, _) = written(&[]);
    let journal = Journal::new(&path);
    journal.append(&[Change::InForce(1)]);
    assert!(journal.is_behind() && journal.is_to_be_rewritten());
    assert!(journal.sync_file().is_err());
    journal.sync(|| journal.begin_anew([START, Change::InForce(1)].into_iter())).unwrap();
    assert!(!journal.is_behind() && !journal.is_to_be_rewritten());
    assert_eq!(Journal::read(&path).unwrap(), Read::Changes(vec![START, Change::InForce(1)]));
}

#[test]
fn what_is_appended_while_it_is_written_anew_is_in_the_new_file_too() {
    let (_data, path, _) = written(&[]);
    let journal = Journal::new(&path);
    let whole = || {
        let whole = journal.begin_anew([START].into_iter());
        journal.append(&[Change::InForce(1)]);
        whole
    };
    journal.sync(whole).unwrap();
    journal.append(&[Change::InForce(2)]);
    assert_eq!(Journal::read(&path).unwrap(), Read::Changes(vec![START, Change::InForce(1), Change::InForce(2)]));
}

#[test]
fn more_than_can_be_kept_meanwhile_leaves_the_old_file_and_is_said() {
    let (_data, path, _) = written(&[Change::InForce(1)]);
    let journal = Journal::new(&path);
    let names: Vec<u128> = (0..=MEANWHILE_MAX as u128 / 16).collect();
    let many = Change::Invalidated { count: 1, names };
    let whole = || {
        let whole = journal.begin_anew([START].into_iter());
        journal.append(std::slice::from_ref(&many));
        whole
    };
    let refused = journal.sync(whole).unwrap_err();
    assert!(refused.contains("too much"), "{refused}");
    assert_eq!(Journal::read(&path).unwrap(), Read::Changes(vec![START, Change::InForce(1)]));
    journal.sync(|| journal.begin_anew([START, Change::InForce(2)].into_iter())).unwrap();
    assert_eq!(Journal::read(&path).unwrap(), Read::Changes(vec![START, Change::InForce(2)]));
}
