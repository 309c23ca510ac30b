use std::{fs, path::Path, slice};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose as Usage, IsCa, Issuer, KeyPair};
use rustls_pki_types::pem::PemObject;
use settings::{Reload, Reloadable};
use tempfile::TempDir;

use super::*;
use crate::clock::manual::ManualClock;

/// 2026-01-01.
const NOW: i64 = 1_767_225_600;
const DAY: i64 = 86_400;

type Chain = Vec<CertificateDer<'static>>;

/// A certificate and its key, which may vouch for others.
struct Holder {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

impl Holder {
    /// An authority that nobody vouches for.
    fn root(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::made(name, None, |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            change(params);
        })
    }

    /// An authority that this one vouches for.
    fn authority(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::made(name, Some(self), |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            change(params);
        })
    }

    /// A client that this one vouches for.
    fn client(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        Self::made(name, Some(self), |params| {
            params.extended_key_usages = vec![Usage::ClientAuth];
            change(params);
        })
    }

    fn made(name: &str, by: Option<&Self>, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, name);
        valid(&mut params, NOW - DAY, NOW + DAY);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = match by {
            Some(by) => params.signed_by(&key, &by.issuer),
            None => params.self_signed(&key),
        };
        let pem = certificate.expect("a certificate").pem();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        Self { issuer: Issuer::new(params, key), pem, der }
    }
}

fn valid(params: &mut CertificateParams, from: i64, until: i64) {
    let time = |seconds: i64| std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.unsigned_abs());
    params.not_before = time(from).into();
    params.not_after = time(until).into();
}

/// An authenticator that believes the authorities of a file, at a time that is turned by hand.
struct Fixture {
    folder: TempDir,
    authorities: Arc<Watched<ClientCa>>,
    clock: Arc<ManualClock>,
    x509: X509,
}

impl Fixture {
    fn trusting(authorities: &[&Holder]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), authorities);
        let authorities = ClientCa::open("--client-ca-file", folder.path().join("ca.crt")).expect("authorities");
        let clock = ManualClock::at(NOW);
        let x509 = X509::new(Arc::clone(&authorities), clock.clone());
        Self { folder, authorities, clock, x509 }
    }

    fn trust_instead(&self, authorities: &[&Holder]) {
        write(self.folder.path(), authorities);
        assert!(matches!(self.authorities.reload(), Reload::Replaced));
    }

    fn user(&self, chain: &[&Holder]) -> Result<Option<User>, String> {
        let chain: Chain = chain.iter().map(|holder| holder.der.clone()).collect();
        self.x509.authenticate(&chain)
    }

    /// The user's name; `None` without a user, whyever.
    fn name(&self, chain: &[&Holder]) -> Option<String> {
        self.user(chain).ok().flatten().map(|user| user.name)
    }
}

fn write(folder: &Path, authorities: &[&Holder]) {
    let text: String = authorities.iter().map(|holder| holder.pem.as_str()).collect();
    fs::write(folder.join("ca.crt"), text).expect("written");
}

#[test]
fn a_chain_that_leads_to_an_authority_names_its_user() {
    let root = Holder::root("root", |_| {});
    let middle = root.authority("middle", |_| {});
    let (near, far) = (root.client("near", |_| {}), middle.client("far", |_| {}));
    let fixture = Fixture::trusting(&[&root]);
    assert_eq!(fixture.name(&[&near]).as_deref(), Some("near"));
    assert_eq!(fixture.name(&[&far, &middle]).as_deref(), Some("far"));
    assert_eq!(fixture.user(&[]), Ok(None));
    for wrong in [&[&far][..], &[&middle, &far], &[&Holder::root("other", |_| {}).client("x", |_| {})]] {
        assert!(fixture.name(wrong).is_none(), "{:?}", wrong.iter().map(|holder| holder.der.len()).collect::<Vec<_>>());
    }
}

#[test]
fn each_certificate_of_a_path_counts_in_its_own_time() {
    let root = Holder::root("root", |params| valid(params, NOW - DAY, NOW + 3000));
    let middle = root.authority("middle", |params| valid(params, NOW - DAY, NOW + 2000));
    let leaf = middle.client("leaf", |params| valid(params, NOW - 10, NOW + 1000));
    let chain = [&leaf, &middle];
    let fixture = Fixture::trusting(&[&root]);
    for (seconds, is_valid) in [(0, true), (1000, true), (1001, false), (-10, true), (-11, false)] {
        fixture.clock.turn(seconds);
        // Twice: the second answer comes from what is remembered.
        for _ in 0..2 {
            assert_eq!(fixture.name(&chain).is_some(), is_valid, "after {seconds} s");
        }
        fixture.clock.turn(-seconds);
    }
    let long = |holder: &Holder| holder.client("long", |params| valid(params, NOW - DAY, NOW + 9000));
    for (by, chain_end, ends) in [(&middle, Some(&middle), 2000), (&root, None, 3000)] {
        let leaf = long(by);
        let chain: Vec<&Holder> = [&leaf].into_iter().chain(chain_end).collect();
        for (seconds, is_valid) in [(ends, true), (ends + 1, false)] {
            fixture.clock.turn(seconds);
            assert_eq!(fixture.name(&chain).is_some(), is_valid, "after {seconds} s");
            fixture.clock.turn(-seconds);
        }
    }
}

#[test]
fn a_certificate_is_for_clients_or_for_anything() {
    let root = Holder::root("root", |_| {});
    let fixture = Fixture::trusting(&[&root]);
    for (usages, is_good) in [
        (vec![Usage::ClientAuth], true),
        (vec![Usage::ServerAuth, Usage::ClientAuth], true),
        (vec![Usage::Any], true),
        (vec![], true),
        (vec![Usage::ServerAuth], false),
        (vec![Usage::CodeSigning], false),
    ] {
        let leaf = root.client("leaf", |params| params.extended_key_usages.clone_from(&usages));
        assert_eq!(fixture.name(&[&leaf]).is_some(), is_good, "{usages:?}");
    }
    let narrow = root.authority("narrow", |params| params.extended_key_usages = vec![Usage::ServerAuth]);
    assert!(fixture.name(&[&narrow.client("leaf", |_| {}), &narrow]).is_none(), "the authority between is not for clients");
}

#[test]
fn an_authority_bounds_the_length_of_paths() {
    let root = Holder::root("root", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let middle = root.authority("middle", |_| {});
    let fixture = Fixture::trusting(&[&root]);
    assert!(fixture.name(&[&root.client("near", |_| {})]).is_some());
    assert!(fixture.name(&[&middle.client("far", |_| {}), &middle]).is_none());
    let holder = root.client("holder", |_| {});
    assert!(fixture.name(&[&holder.client("child", |_| {}), &holder]).is_none(), "a client vouches for nobody");
}

#[test]
fn a_certificate_in_the_bundle_is_believed_as_in_go() {
    let alone = Holder::made("alone", None, |params| params.extended_key_usages = vec![Usage::ClientAuth]);
    let server = Holder::made("server", None, |params| params.extended_key_usages = vec![Usage::ServerAuth]);
    let authority = Holder::root("authority", |_| {});
    let fixture = Fixture::trusting(&[&alone, &server, &authority]);
    assert_eq!(fixture.name(&[&alone]).as_deref(), Some("alone"));
    assert_eq!(fixture.name(&[&authority]).as_deref(), Some("authority"));
    assert!(fixture.name(&[&server]).is_none());
    fixture.clock.turn(2 * DAY);
    assert!(fixture.name(&[&alone]).is_none());
}

#[test]
fn nothing_that_is_remembered_outlives_its_authority() {
    let (first, second) = (Holder::root("root", |_| {}), Holder::root("root", |_| {}));
    let (old, new) = (first.client("old", |_| {}), second.client("new", |_| {}));
    let fixture = Fixture::trusting(&[&first]);
    assert!(fixture.name(&[&old]).is_some() && fixture.name(&[&new]).is_none());
    fixture.trust_instead(&[&second]);
    assert!(fixture.name(&[&old]).is_none() && fixture.name(&[&new]).is_some());
    fixture.trust_instead(&[&first, &second]);
    assert!(fixture.name(&[&old]).is_some() && fixture.name(&[&new]).is_some());
}

#[test]
fn a_chain_that_does_not_verify_is_verified_again_when_it_may() {
    let root = Holder::root("root", |params| valid(params, NOW + 100, NOW + 1000));
    let (soon, stranger) =
        (root.client("soon", |params| valid(params, NOW + 50, NOW + DAY)), Holder::root("root", |_| {}).client("x", |_| {}));
    let fixture = Fixture::trusting(&[&root]);
    let found =
        |chain: &[CertificateDer<'_>]| fixture.x509.refused.get(&fingerprint(chain, fixture.authorities.generation())).expect("remembered");
    // Its own beginning, then that of its authority, then that one's end.
    for (seconds, is_valid) in [(0, false), (49, false), (50, false), (99, false), (100, true), (1000, true), (1001, false)] {
        fixture.clock.turn(seconds);
        for _ in 0..2 {
            assert_eq!(fixture.name(&[&soon]).is_some(), is_valid, "after {seconds} s");
        }
        fixture.clock.turn(-seconds);
    }
    fixture.clock.turn(1001);
    let known = found(slice::from_ref(&soon.der));
    assert!(fixture.name(&[&soon]).is_none() && Arc::ptr_eq(&known, &found(slice::from_ref(&soon.der))), "nor after it was good");
    fixture.clock.turn(-1001);
    let garbage = CertificateDer::from(vec![0x30; 16]);
    for chain in [vec![stranger.der.clone()], vec![stranger.der.clone(), garbage]] {
        let first = fixture.x509.authenticate(&chain);
        let known = found(&chain);
        assert!(first.is_err() && fixture.x509.authenticate(&chain) == first);
        assert!(Arc::ptr_eq(&known, &found(&chain)), "it is not verified for each request");
        fixture.clock.turn(UNREADABLE + 1);
        assert!(fixture.x509.authenticate(&chain) == first);
        assert_eq!(Arc::ptr_eq(&known, &found(&chain)), chain.len() == 1, "of what cannot be read nobody knows how long it holds");
        fixture.clock.turn(-UNREADABLE - 1);
    }
    for _ in 0..2 {
        let made_up = Holder::root("root", |_| {}).client("x", |_| {});
        assert!(fixture.name(&[&made_up]).is_none());
    }
    assert_eq!((fixture.x509.memo.len(), fixture.x509.refused.len()), (1, 5), "chains that anybody can make are apart");
}

#[test]
fn the_subject_is_the_user() {
    let root = Holder::root("root", |_| {});
    let fixture = Fixture::trusting(&[&root]);
    let leaf = root.client("alice", |params| {
        params.distinguished_name.push(DnType::OrganizationName, "devs");
        params.distinguished_name.push(DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, 2]), "uid-1");
    });
    let user = fixture.user(&[&leaf]).expect("verified").expect("a user");
    assert_eq!((user.name.as_str(), user.groups.as_slice(), user.uid.as_str()), ("alice", &["devs".to_owned()][..], "uid-1"));
    let credential = format!("X509SHA256={}", subject::sha256(&leaf.der));
    assert_eq!(user.extra.get("authentication.kubernetes.io/credential-id"), Some(&vec![credential]));

    let nameless = root.client("x", |params| {
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::OrganizationName, "devs");
    });
    assert_eq!(fixture.user(&[&nameless]), Ok(None), "who has no name is nobody");
    let empty = root.client("x", |params| params.distinguished_name.push(DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, 2]), ""));
    assert!(fixture.user(&[&empty]).is_err_and(|why| why.contains("UID")));
}

#[test]
fn a_chain_without_end_is_not_looked_at() {
    let root = Holder::root("root", |_| {});
    let leaf = root.client("leaf", |_| {});
    let fixture = Fixture::trusting(&[&root]);
    let chain: Vec<&Holder> = [&leaf].into_iter().chain(std::iter::repeat_n(&root, MAX_CERTIFICATES)).collect();
    assert!(fixture.user(&chain).is_err_and(|why| why.contains("too long")));
    assert!(fixture.user(&chain[..MAX_CERTIFICATES]).is_ok());
    assert!(fixture.x509.authenticate(&[CertificateDer::from(vec![0x30; 16])]).is_err(), "what is no certificate proves nothing");
}
