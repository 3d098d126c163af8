# An image with the binary and what it needs to run: its shared libraries, the public roots, a user.
# No shell, no package manager, nothing that runs as root.
#
#   docker build -t countersign .
#   docker run --rm -p 127.0.0.1:8080:8080 -v "$PWD/etc:/etc/countersign:ro" countersign
#
# The listener has to say `0.0.0.0:8080` in the configuration: loopback in here is nobody else's. What is
# mounted has to be readable by user 65532, or run it as the files' owner: `--user "$(id -u)"`.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY . .
# The emulator fakes vendors for tests and demonstrations, and has no place in production.
RUN cargo build --release --locked --no-default-features

# The final image's root folder. glibc stays a shared library: linked statically it cannot look up
# names. `ldd` also prints the kernel's vdso, which has no path and so is not copied.
RUN set -eu; \
    install -D --strip target/release/countersign /image/usr/local/bin/countersign; \
    ldd target/release/countersign | grep -o '/[^ ]*' | xargs cp --dereference --parents --target-directory=/image; \
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt; \
    echo 'hosts: files dns' >/image/etc/nsswitch.conf; \
    echo 'countersign:x:65532:65532::/:/nonexistent' >/image/etc/passwd; \
    echo 'countersign:x:65532:' >/image/etc/group

FROM scratch
COPY --from=build /image /
# As a number, so that Kubernetes can see for itself that it is not root.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/countersign"]
CMD ["serve", "--config", "/etc/countersign/proxy.toml"]
