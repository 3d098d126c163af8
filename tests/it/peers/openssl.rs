//! OpenSSL reads the keys that we make, and we read the keys that it makes.

use std::fs;
use std::path::Path;
use std::process::Command;

use countersign::config;
use countersign::jws::{Algorithm, KeyKind, generate, public_of};
use countersign::secret::Secret;
use countersign::secret::store::Store;

use super::{run, shell};
use crate::support::{Folder, Proxy, Upstream, get};

/// A configuration whose credential signs with the file `key`.
fn configuration(folder: &Folder, upstream: &Upstream, algorithm: Algorithm) -> String {
    folder.write("ca.pem", &upstream.ca_pem);
    format!(
        r#"
[listeners.local]
address = "127.0.0.1:0"

[credentials.it.self-signed]
algorithm = "{}"
key = {{ file = "key" }}
claims = {{ exp = "${{expires}}" }}

[targets.it]
url = "https://upstream.example"
connect = "{}"
tls.ca = "ca.pem"
"#,
        algorithm.name(),
        upstream.address
    )
}

/// The key in the file `key` signs, and its public half is what OpenSSL says of `original`.
fn works(folder: &Folder, upstream: &Upstream, algorithm: Algorithm, original: &str, made: &str) {
    folder.chmod("key", 0o600);
    let text = configuration(folder, upstream, algorithm);
    let proxy = Proxy::start(folder, &text);
    assert_eq!(get(proxy.address, "/it").status, 200, "{made}");
    let key = fs::read(folder.path().join("key")).expect("a key");
    assert_eq!(
        public_of(&Secret::new(key)).expect("it was just signed with"),
        shell(
            folder.path(),
            &format!("openssl pkey -in {original} -pubout")
        ),
        "{made}"
    );
}

/// What is said about the key in the file `key`, which is not taken.
fn refusal(folder: &Folder, upstream: &Upstream, algorithm: Algorithm, made: &str) -> String {
    folder.chmod("key", 0o600);
    let text = configuration(folder, upstream, algorithm);
    match config::parse("proxy.toml", &text, folder.path(), &Store::Disk) {
        Ok(_) => panic!("taken: {made}"),
        Err(problems) => problems.to_string(),
    }
}

#[test]
#[ignore = "needs openssl"]
fn keys_that_openssl_makes_load_in_every_form() {
    let upstream = Upstream::saying("");
    let ec = |curve: &str| {
        [
            format!("openssl ecparam -genkey -name {curve} -noout -out made"),
            // With its parameters in a block in front.
            format!("openssl ecparam -genkey -name {curve} -out made"),
            format!("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:{curve} -out made"),
        ]
    };
    let rsa = |bits: u32| {
        [
            format!("openssl genrsa -traditional -out made {bits}"),
            format!("openssl genrsa -out made {bits}"),
            format!("openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:{bits} -out made"),
        ]
    };
    let ed = ["openssl genpkey -algorithm ED25519 -out made".to_owned()];
    // What a key goes through before it is used, by way of OpenSSL, a vendor or an editor.
    let every = [
        "cp made key",
        "openssl pkcs8 -topk8 -nocrypt -in made -out key",
        "openssl pkcs8 -topk8 -nocrypt -in made -outform DER -out key",
        "openssl pkey -in made -text -out key",
        "tr -d '\\n' < made > key",
        "tr '\\n' ' ' < made > key",
        "awk '{ printf \"%s\\\\n\", $0 }' made > key",
        "sed 's/$/\\r/' made > key",
        "sed 's/^/    /' made > key",
    ];
    let traditional = [
        "openssl pkey -traditional -in made -out key",
        "openssl pkey -traditional -in made -outform DER -out key",
    ];
    for (algorithm, makes, has_traditional) in [
        (Algorithm::Es256, ec("prime256v1").as_slice(), true),
        (Algorithm::Es384, ec("secp384r1").as_slice(), true),
        (Algorithm::Es512, ec("secp521r1").as_slice(), true),
        (Algorithm::Rs256, rsa(2048).as_slice(), true),
        (Algorithm::Ps384, rsa(3072).as_slice(), true),
        (Algorithm::EdDsa, ed.as_slice(), false),
    ] {
        for make in makes {
            let folder = Folder::new();
            shell(folder.path(), make);
            let more = if has_traditional {
                &traditional[..]
            } else {
                &[]
            };
            for form in every.iter().chain(more) {
                shell(folder.path(), form);
                let made = format!("{make}; {form}");
                works(&folder, &upstream, algorithm, "made", &made);
            }
        }
    }
}

#[test]
#[ignore = "needs openssl"]
fn keys_that_cannot_be_used_are_refused_and_the_way_out_that_is_said_works() {
    const EC: &str = "openssl ecparam -genkey -name secp521r1";
    let upstream = Upstream::saying("");
    let explicit = "explicit parameters; give it its name with \
                    `openssl ec -in KEY -param_enc named_curve -out NEW`";
    let name_it = "openssl ec -in key -param_enc named_curve -out new";
    let encrypted = "this key is encrypted; decrypt it with `openssl pkey -in KEY -out NEW`";
    let decrypt = "openssl pkey -in key -passin pass:secret -out new";
    for (algorithm, make, said, way_out) in [
        (
            Algorithm::Es512,
            format!("{EC} -noout -param_enc explicit -out key"),
            explicit,
            name_it,
        ),
        (
            Algorithm::Es512,
            format!("{EC} -param_enc explicit -out key"),
            explicit,
            name_it,
        ),
        (
            Algorithm::Es512,
            format!("{EC} -noout -param_enc explicit | openssl pkcs8 -topk8 -nocrypt -out key"),
            explicit,
            name_it,
        ),
        (
            Algorithm::Es256,
            "openssl ecparam -genkey -name prime256v1 -noout -param_enc explicit -out key".into(),
            explicit,
            name_it,
        ),
        (
            Algorithm::Es512,
            format!("{EC} -noout | openssl pkcs8 -topk8 -passout pass:secret -out key"),
            encrypted,
            decrypt,
        ),
        (
            Algorithm::Es512,
            format!("{EC} -noout | openssl ec -aes256 -passout pass:secret -out key"),
            encrypted,
            decrypt,
        ),
        (
            Algorithm::Rs256,
            "openssl genrsa -traditional -aes128 -passout pass:secret -out key 2048".into(),
            encrypted,
            decrypt,
        ),
        (
            Algorithm::Rs256,
            "openssl genrsa -aes256 -passout pass:secret -out key 2048".into(),
            encrypted,
            decrypt,
        ),
        (
            Algorithm::Rs256,
            "openssl genrsa 2048 | \
             openssl pkcs8 -topk8 -passout pass:secret -outform DER -out key"
                .into(),
            encrypted,
            decrypt,
        ),
        (
            Algorithm::EdDsa,
            "openssl genpkey -algorithm ED25519 -aes-256-cbc -pass pass:secret -out key".into(),
            encrypted,
            decrypt,
        ),
        (
            Algorithm::Rs256,
            "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout k -out c; \
             openssl pkcs12 -export -inkey k -in c -passout pass:secret -out key"
                .into(),
            "this is a PKCS#12 bundle; take the key out of it with \
             `openssl pkcs12 -in BUNDLE -nocerts -nodes -out KEY`",
            "openssl pkcs12 -in key -nocerts -nodes -passin pass:secret -out new",
        ),
        (
            Algorithm::Es512,
            "openssl ecparam -genkey -name prime256v1 -noout -out key".into(),
            "secp521r1 wanted, this key is prime256v1; make one with \
             `openssl ecparam -genkey -name secp521r1 -noout -out KEY`",
            "openssl ecparam -genkey -name secp521r1 -noout -out new",
        ),
        (
            Algorithm::Es256,
            "openssl ecparam -genkey -name secp256k1 -noout -out key".into(),
            "prime256v1 wanted, this key is secp256k1",
            "openssl ecparam -genkey -name prime256v1 -noout -out new",
        ),
        (
            Algorithm::Es512,
            "openssl ecparam -name secp521r1 -out key".into(),
            "these are EC parameters without a key",
            "openssl ecparam -genkey -name secp521r1 -noout -out new",
        ),
        (
            Algorithm::Es512,
            format!("{EC} -noout | tee new | openssl ec -pubout -out key"),
            "this is a public key",
            "true",
        ),
        (
            Algorithm::Rs256,
            "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout new -out key".into(),
            "this is a certificate",
            "true",
        ),
        (
            Algorithm::Rs256,
            "openssl req -newkey rsa:2048 -nodes -subj /CN=x -keyout new -out key".into(),
            "this is a certificate",
            "true",
        ),
        (
            Algorithm::EdDsa,
            "openssl genpkey -algorithm ED448 -out key".into(),
            "EdDSA signs with",
            "openssl genpkey -algorithm ED25519 -out new",
        ),
        (
            Algorithm::Rs256,
            "openssl genrsa -out key 1024".into(),
            "this RSA key has 1024 bits, 2048 are the least",
            "openssl genrsa -out new 2048",
        ),
    ] {
        let folder = Folder::new();
        shell(folder.path(), &make);
        let problems = refusal(&folder, &upstream, algorithm, &make);
        assert!(problems.contains(said), "{make}:\n{problems}");
        shell(folder.path(), way_out);
        shell(folder.path(), "mv new key");
        works(&folder, &upstream, algorithm, "key", &make);
    }
}

fn reads(folder: &Path, private: &str, public: &str, kind: KeyKind) {
    let text = shell(
        folder,
        &format!("openssl pkey -in {private} -noout -text -check"),
    );
    let what = match kind {
        KeyKind::EcP256 => "ASN1 OID: prime256v1",
        KeyKind::EcP384 => "ASN1 OID: secp384r1",
        KeyKind::EcP521 => "ASN1 OID: secp521r1",
        KeyKind::Rsa2048 => "Private-Key: (2048 bit",
        KeyKind::Rsa3072 => "Private-Key: (3072 bit",
        KeyKind::Rsa4096 => "Private-Key: (4096 bit",
        KeyKind::Ed25519 => "ED25519 Private-Key:",
    };
    assert!(text.contains(what), "{kind}: {text}");
    assert!(text.contains("Key is valid"), "{kind}: {text}");
    assert_eq!(
        shell(folder, &format!("openssl pkey -in {private} -pubout")),
        fs::read_to_string(folder.join(public)).expect("just written"),
        "{kind}"
    );
}

#[test]
#[ignore = "needs openssl"]
fn openssl_reads_every_kind_of_key_that_we_make() {
    for kind in KeyKind::ALL {
        let folder = Folder::new();
        let pair = generate(kind);
        folder.write("private.pem", pair.private_pem.expose());
        folder.write("public.pem", &pair.public_pem);
        reads(folder.path(), "private.pem", "public.pem", kind);
    }
}

#[test]
#[ignore = "needs openssl"]
fn openssl_reads_what_keygen_writes_for_each_preset() {
    for (preset, private, public) in [
        (
            "vdr",
            "impersonation-api-private.pem",
            "impersonation-api-public.pem",
        ),
        (
            "vdr-management",
            "mgt-api-private.pem",
            "mgt-api-public.pem",
        ),
    ] {
        let folder = Folder::new();
        let countersign = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
            run(command.args(arguments).current_dir(folder.path())).stdout
        };
        countersign(&["keygen", preset]);
        reads(folder.path(), private, public, KeyKind::EcP521);
        // As the vendor's page has it: `openssl ec`, and not `pkey`.
        assert_eq!(
            shell(folder.path(), &format!("openssl ec -in {private} -pubout")).into_bytes(),
            countersign(&["keygen", "--public-of", private])
        );
    }
}
