#!/usr/bin/env bash
# The gate: what has to be green before a change is taken. Runs offline once the crates are here.
#
#   ./ci.sh           format, lints, documentation, dependencies, the example, the tests
#   ./ci.sh --peers   and then the tests against foreign tools; a tool that is missing is a failure
#   ./ci.sh --long    and then the tests that take minutes, in a release build, and an hour of use
#                     (COUNTERSIGN_SOAK=300: five minutes of it)
#
# The tests come last, so that the last lines are the test runner's own.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

long=false
peers=false
for argument in "$@"; do
    case $argument in
        --long) long=true ;;
        --peers) peers=true ;;
        *)
            sed -n '2,/^$/s/^# \{0,1\}//p' ci.sh >&2
            exit 64
            ;;
    esac
done

step() { printf '\n== %s (at %d s)\n' "$*" "$SECONDS"; }

# A step that could not be done says so when it is passed, and again before the tests.
skipped=()
skip() {
    printf 'SKIPPED: %s\n' "$*"
    skipped+=("$*")
}

# Vulnerable below these versions. `cargo deny check advisories` knows most of them when it has its
# database; the list holds without one, and has those that were fixed but never announced there.
# A crate that is not in the tree passes.
floors='
hyper               1.12.0
h2                  0.4.20
rustls              0.23.46
rustls-webpki       0.103.13
aws-lc-sys          0.39.0
jsonwebtoken        10.3.0
bytes               1.11.1
tokio               1.44.2
time                0.3.47
tracing-subscriber  0.3.20
'

check_floors() {
    local crate floor version failed=0
    while read -r crate floor; do
        [[ -n $crate ]] || continue
        while read -r version; do
            if [[ $(printf '%s\n' "$floor" "$version" | sort -V | head -n 1) == "$floor" ]]; then
                printf '%-20s %-10s >= %s\n' "$crate" "$version" "$floor"
            else
                printf '%-20s %-10s is below %s\n' "$crate" "$version" "$floor" >&2
                failed=1
            fi
        done < <(awk -v crate="$crate" '
            $1 == "name" { here = ($3 == "\"" crate "\"") }
            $1 == "version" && here { gsub(/"/, "", $3); print $3 }
        ' Cargo.lock)
    done <<<"$floors"
    return "$failed"
}

check_dependencies() {
    if ! cargo deny --version >/dev/null 2>&1; then
        skip 'cargo-deny is not installed, so bans, licences and sources were not checked' \
            '(cargo install --locked cargo-deny)'
        return
    fi
    # No `all`: the advisories need a database that only the network has.
    cargo deny --locked check bans licenses sources
    if compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs/*/" >/dev/null; then
        cargo deny --offline --locked check advisories
    else
        skip 'no advisory database on this machine, so only the version floors were checked' \
            '(cargo deny fetch db)'
    fi
}

# The example names secrets that no clone has. They are made up in a scratch folder: a key for each
# *.pem, a word for everything else. Then `check` has to say 0, and 78 once the file is broken.
check_example() {
    local example=proxy.toml.example binary secret scratch status=0
    if [[ ! -f $example ]]; then
        skip "there is no $example"
        return
    fi
    cargo build --locked --quiet
    binary=${CARGO_TARGET_DIR:-target}/debug/countersign
    scratch=$(mktemp -d)
    # The path is wanted now: the variable is gone when the trap runs.
    # shellcheck disable=SC2064
    trap "rm -rf '$scratch'" EXIT

    cp "$example" "$scratch/proxy.toml"
    while read -r secret; do
        mkdir -p "$(dirname "$scratch/$secret")"
        (
            umask 077
            case $secret in
                *.pem)
                    "$binary" keygen vdr --out "$scratch" >"$scratch/said"
                    mv "$scratch/impersonation-api-private.pem" "$scratch/$secret"
                    rm "$scratch/impersonation-api-public.pem"
                    ;;
                *) echo example >"$scratch/$secret" ;;
            esac
        )
    done < <(sed '/^[[:space:]]*#/d' "$example" | grep -oE '\{ *file *= *"[^"/][^"]*"' | cut -d '"' -f 2)

    "$binary" check --config "$scratch/proxy.toml"

    echo 'no-such-key = true' | cat - "$example" >"$scratch/proxy.toml"
    "$binary" check --config "$scratch/proxy.toml" >"$scratch/said" 2>&1 || status=$?
    if [[ $status != 78 ]]; then
        printf 'check left with %d, not 78, for an unknown key, and said:\n' "$status" >&2
        cat "$scratch/said" >&2
        return 1
    fi
    rm -rf "$scratch"
    trap - EXIT
}

# The units, with a program that is there in place of the one that will be.
check_units() {
    if ! command -v systemd-analyze >/dev/null; then
        skip 'systemd-analyze is not here, so packaging/*.service and *.socket were not checked'
        return
    fi
    local scratch
    scratch=$(mktemp -d)
    cp packaging/countersign.{service,socket} "$scratch"
    sed -i 's|/usr/local/bin/countersign|/bin/true|' "$scratch/countersign.service"
    # Warnings are not in its exit code: an unknown setting is one.
    systemd-analyze verify "$scratch"/countersign.{service,socket} >"$scratch/said" 2>&1 || true
    if grep -F "$scratch" "$scratch/said"; then
        return 1
    fi
    systemd-analyze security --offline=true --threshold=20 "$scratch/countersign.service" | tail -n 1
    rm -rf "$scratch"
}

step 'format'
cargo fmt --check

step 'lints'
cargo clippy --all-targets --locked -- -D warnings
step 'lints, as packages are built: without the emulator'
cargo clippy --lib --bins --no-default-features --locked -- -D warnings

step 'documentation'
RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --locked

step 'version floors'
check_floors
step 'dependencies'
check_dependencies

step 'example'
check_example

step 'units'
check_units

if ((${#skipped[@]})); then
    step 'not checked'
    printf 'SKIPPED: %s\n' "${skipped[@]}"
fi

step 'tests'
# They note every secret that they make and everything that the proxy lets out, logs at TRACE included.
export COUNTERSIGN_CANARY=$PWD/target/canary
rm -rf "$COUNTERSIGN_CANARY"
cargo test --locked

step 'nothing of a secret in what was let out'
cargo test --locked --test it -- --ignored --exact \
    support::canary::no_piece_of_any_secret_is_in_anything_that_was_let_out
unset COUNTERSIGN_CANARY

if $long; then
    step 'long tests'
    cargo test --release --locked -- --ignored --skip long_a_thousand_slow --skip long_soak long_
    # What measures has the machine to itself.
    cargo test --release --locked --test it -- --ignored --nocapture long_a_thousand_slow
    cargo test --release --locked --test it -- --ignored --nocapture long_soak
    COUNTERSIGN_FUZZ=60 cargo test --release --locked --test fuzz
fi

if $peers; then
    step 'tests against foreign tools'
    cargo test --locked --test it -- --ignored peers::
fi
