//! Java's `HttpClient`, which asks every plain server to switch to HTTP/2 on its first request.

use std::process::Command;

use super::clients::{all_are_ours, start};
use super::run;

const CLIENT: &str = r#"
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;

public class Client {
    static final HttpClient CLIENT = HttpClient.newHttpClient();

    static HttpRequest.Builder to(String url) {
        return HttpRequest.newBuilder(URI.create(url));
    }

    static void expect(String wanted, HttpResponse<String> answer) {
        if (answer.statusCode() != 200 || !answer.body().equals(wanted)
                || answer.version() != HttpClient.Version.HTTP_1_1) {
            throw new AssertionError(answer + " " + answer.body() + ", and not " + wanted);
        }
    }

    static HttpResponse<String> send(HttpRequest.Builder request) throws Exception {
        return CLIENT.send(request.build(), BodyHandlers.ofString());
    }

    public static void main(String[] arguments) throws Exception {
        String url = arguments[0];
        byte[] body = new byte[300000];
        Arrays.fill(body, (byte) 'x');
        expect("GET /a?q=%C3%A4%20b 0", send(to(url + "/a?q=%C3%A4%20b")));
        expect("POST / 300000", send(to(url).POST(BodyPublishers.ofByteArray(body))));
        var stream = BodyPublishers.ofInputStream(() -> new java.io.ByteArrayInputStream(body));
        expect("PUT / 300000", send(to(url).PUT(stream)));
        expect("GET / 0", send(to(url).header("Authorization", "Basic eA==")));
        var together = IntStream.range(0, 20)
            .mapToObj(n -> CLIENT.sendAsync(to(url + "/" + n).build(), BodyHandlers.ofString()))
            .toList();
        CompletableFuture.allOf(together.toArray(CompletableFuture[]::new)).join();
        for (int n = 0; n < together.size(); n++) {
            expect("GET /" + n + " 0", together.get(n).join());
        }
    }
}
"#;

#[test]
#[ignore = "needs a JDK"]
fn javas_http_client_is_answered_and_stays_with_http_1() {
    let (upstream, _proxy, folder, url) = start();
    let source = folder.write("Client.java", CLIENT);
    run(Command::new("java").arg(source).arg(&url));
    all_are_ours(&upstream, 24);
    for request in upstream.requests() {
        let head = request.to_ascii_lowercase();
        assert!(
            !head.contains("upgrade") && !head.contains("http2-settings"),
            "{request}"
        );
    }
}
