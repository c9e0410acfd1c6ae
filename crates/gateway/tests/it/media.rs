//! Pictures and sound: uploads go out byte for byte but for the model's name, sound comes back as it is made, and streams of
//! either end with their usage.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tollgate_interaction::{Operation, Outcome, UsageSource};

use crate::harness::{Bench, settings};
use crate::provider::{self, Provider, Step, bytes, chunk, end, respond, stream_head};

/// What stands behind `form-data; `, and the value.
type Part<'a> = (&'a str, &'a [u8]);

const SOUND: &[u8] = b"ID3\x04\x00\xff\xfb\x90\x00not text\x00\xfe";
const TRANSCRIPTS: &str = "/v1/audio/transcriptions";
const SPEECH: &str = r#"{"model":"up/tts","input":"Good morning","voice":"alloy"}"#;
const HEARD: &str = r#"{"text":"good morning","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":0,"audio_tokens":14},"output_tokens":3,"total_tokens":17}}"#;

#[tokio::test]
async fn an_upload_goes_out_byte_for_byte_but_for_the_model() {
    for (path, operation) in
        [(TRANSCRIPTS, Operation::Transcription), ("/v1/audio/translations", Operation::Translation)]
    {
        let up = Provider::answering(provider::json(200, HEARD)).await;
        let bench = Bench::start(settings(up.address)).await;
        let parts: [(&str, &[u8]); 3] = [
            ("name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg", SOUND),
            ("name=\"model\"", b"up/whisper"),
            ("name=\"language\"", b"en"),
        ];
        let request = bench.upload(path, &parts);
        let whole = request.body().clone().collect().await.unwrap().to_bytes();
        let answer = bench.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, HEARD));
        let received = &up.received()[0];
        assert!(received.head.starts_with(&format!("post {path} ")), "{}", received.head);
        assert!(received.head.contains("content-type: multipart/form-data; boundary=edge"), "{}", received.head);
        let sent = String::from_utf8_lossy(&whole).replace("up/whisper", "whisper");
        assert_eq!(received.body, sent);
        let row = bench.row(&answer);
        assert_eq!((row.record.operation, row.record.outcome), (operation, Outcome::Success));
        assert_eq!((row.record.usage.input_tokens, row.record.usage.audio_input_tokens), (Some(14), Some(14)));
        assert_eq!(row.record.request_bytes, whole.len() as u64);
        let opened = bench.events().into_iter().find_map(|event| match event {
            tollgate_interaction::Event::Opened(opened) => Some(opened.request),
            _ => None,
        });
        assert_eq!(opened.unwrap().body, whole, "the upload is kept as it came");
    }
}

#[tokio::test]
async fn an_upload_that_could_be_read_in_two_ways_or_is_too_large_is_refused_with_a_row() {
    let mut small = settings(([127, 0, 0, 1], 1).into());
    small.limits.request_bytes = 2_000;
    let bench = Bench::start(small).await;
    let file = ("name=file; filename=a.mp3", SOUND);
    let long = [0; 3_000];
    let cases: [(&[Part<'_>], u16, &str); 4] = [
        (&[file, ("name=model", b"up/a"), ("name=\"model\"", b"up/b")], 400, "duplicate_field"),
        (&[file], 400, "missing_field"),
        (&[("name=model", b"up/a"), ("name=file; filename=f", b"x\n--edge\nname=model")], 400, "invalid_form"),
        (&[("name=model", b"up/a"), ("name=file; filename=f", &long)], 413, "body_too_large"),
    ];
    for (parts, status, code) in cases {
        let answer = bench.send(bench.upload(TRANSCRIPTS, parts)).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]["code"]),
            (status, &code.into()),
            "{}",
            answer.body
        );
        let record = bench.row(&answer).record;
        assert_eq!((record.outcome, record.operation), (Outcome::Failed, Operation::Transcription));
    }
    let edit = bench.send(bench.upload("/v1/images/edits", &[("name=image; filename=a.png", SOUND)])).await;
    assert_eq!(&edit.json()["error"]["code"], "provider_ambiguous", "a picture's model may be left to the provider");
}

#[tokio::test]
async fn subtitles_pass_as_they_are_and_seconds_are_noted() {
    let subtitles = "1\n00:00:00,000 --> 00:00:01,000\nHello\n\n";
    let verbose = r#"{"task":"transcribe","duration":9.5,"text":"Hello","usage":{"type":"duration","seconds":10}}"#;
    let parts: [(&str, &[u8]); 2] = [("name=file; filename=a.mp3", SOUND), ("name=model", b"up/whisper")];
    for (kind, body) in
        [("text/plain; charset=utf-8", subtitles), ("application/x-subrip", subtitles), ("application/json", verbose)]
    {
        let up = Provider::answering(bytes(kind, body.as_bytes())).await;
        let bench = Bench::start(settings(up.address)).await;
        let answer = bench.send(bench.upload(TRANSCRIPTS, &parts)).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str(), answer.header("content-type")), (200, body, kind));
        let record = bench.row(&answer).record;
        assert_eq!((record.outcome, record.usage_source, record.cost_usd), (Outcome::Success, UsageSource::None, None));
        let seconds =
            record.tags.iter().find(|(name, _)| name == "tollgate.audio_seconds").map(|(_, value)| value.as_str());
        assert_eq!(seconds, (kind == "application/json").then_some("10"), "{kind}");
    }
    for wrong in [respond(200, "content-type: text/html\r\n", "<h1>hi</h1>"), provider::json(200, "{")] {
        let up = Provider::answering(wrong).await;
        let bench = Bench::start(settings(up.address)).await;
        let answer = bench.send(bench.upload(TRANSCRIPTS, &parts)).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error"]["code"]),
            (502, &"upstream_invalid_response".into())
        );
        assert_eq!(bench.row(&answer).record.outcome, Outcome::Failed);
    }
}

fn sound_with_a_pause() -> Vec<Step> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n";
    let piece = || Step::Send([format!("{:x}\r\n", SOUND.len()).as_bytes(), SOUND, b"\r\n"].concat().into());
    vec![Step::Send(head.into()), piece(), piece(), Step::Pause, piece(), end()]
}

#[tokio::test]
async fn sound_is_passed_on_while_it_is_made() {
    let up = Provider::answering(sound_with_a_pause()).await;
    let bench = Bench::start(settings(up.address)).await;
    let response = bench.open(bench.request("/v1/audio/speech", SPEECH)).await;
    assert_eq!((response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()), (200, "audio/mpeg"));
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(SOUND.starts_with(&first[..]) || first.starts_with(SOUND), "the beginning is there before the end");
    up.go_on();
    let rest = body.collect().await.unwrap().to_bytes();
    let heard = [first, rest].concat();
    assert_eq!(heard, SOUND.repeat(3));
    let row = bench.only_row().await;
    assert_eq!((row.record.operation, row.record.outcome), (Operation::Speech, Outcome::Success));
    assert_eq!((row.record.usage_source, row.record.cost_usd), (UsageSource::None, None));
    assert_eq!(row.settled.response.body, Bytes::from(heard));
    assert!(row.record.ttft_us.is_some() && row.record.response_bytes == 3 * SOUND.len() as u64);
}

#[tokio::test]
async fn sound_that_breaks_off_breaks_the_connection_and_is_a_failure() {
    let mut steps = sound_with_a_pause();
    steps.truncate(3);
    steps.push(Step::Wait(Duration::from_millis(50)));
    steps.push(Step::Reset);
    let up = Provider::answering(steps).await;
    let bench = Bench::start(settings(up.address)).await;
    let response = bench.open(bench.request("/v1/audio/speech", SPEECH)).await;
    assert!(response.into_body().collect().await.is_err(), "half a sound is not passed off as a whole one");
    let record = bench.only_row().await.record;
    assert_eq!((record.outcome, record.error_type.as_deref()), (Outcome::Failed, Some("upstream_incomplete")));
    for (steps, code) in [
        (respond(200, "content-type: text/html\r\n", "<h1>hi</h1>"), "upstream_invalid_response"),
        (provider::json(429, r#"{"error":{"message":"slow down","type":"requests"}}"#), "rate_limited"),
    ] {
        let up = Provider::answering(steps).await;
        let bench = Bench::start(settings(up.address)).await;
        let answer = bench.post("/v1/audio/speech", SPEECH).await;
        assert!(answer.status.as_u16() >= 400 && answer.json()["error"]["message"].is_string(), "{}", answer.body);
        assert_eq!(bench.row(&answer).record.error_type.as_deref(), Some(code));
    }
}

#[tokio::test]
async fn a_caller_who_stops_listening_leaves_a_row_of_all_that_was_said() {
    let up = Provider::answering(sound_with_a_pause()).await;
    let bench = Bench::start(settings(up.address)).await;
    let mut body = bench.open(bench.request("/v1/audio/speech", SPEECH)).await.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    tokio::time::sleep(Duration::from_millis(50)).await;
    up.go_on();
    let row = bench.only_row().await;
    assert_eq!(
        (row.record.outcome, row.record.error_type.as_deref()),
        (Outcome::Cancelled, Some("client_disconnected"))
    );
    assert_eq!(row.settled.response.body, SOUND.repeat(3));
    assert_eq!((row.record.usage_source, row.record.cost_usd), (UsageSource::None, None));
}

#[tokio::test]
async fn streams_of_pictures_speech_and_transcripts_end_with_their_usage() {
    let parts: [(&str, &[u8]); 3] =
        [("name=file; filename=a.mp3", SOUND), ("name=model", b"up/small"), ("name=stream", b"true")];
    let cases = [
        (
            Operation::Images,
            "data: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"aa\"}\n\n",
            "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"aa\",\"usage\":{\"input_tokens\":5,\"output_tokens\":7}}\n\n",
        ),
        (
            Operation::Speech,
            "data: {\"type\":\"speech.audio.delta\",\"audio\":\"aa\"}\n\n",
            "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":5,\"output_tokens\":7,\"total_tokens\":12}}\n\n",
        ),
        (
            Operation::Transcription,
            "data: {\"type\":\"transcript.text.delta\",\"delta\":\"hi\"}\n\n",
            "data: {\"type\":\"transcript.text.done\",\"text\":\"hi\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":5,\"output_tokens\":7}}\n\n",
        ),
    ];
    for (operation, first, last) in cases {
        for is_whole in [true, false] {
            let mut steps = vec![stream_head(), chunk(first)];
            steps.extend(is_whole.then(|| chunk(last)));
            steps.push(end());
            let up = Provider::answering(steps).await;
            let bench = Bench::start(settings(up.address)).await;
            let request = match operation {
                Operation::Images => {
                    bench.request("/v1/images/generations", r#"{"model":"up/small","prompt":"x","stream":true}"#)
                }
                Operation::Speech => {
                    let body = r#"{"model":"up/small","input":"x","voice":"a","stream_format":"sse"}"#;
                    bench.request("/v1/audio/speech", body)
                }
                _ => bench.upload(TRANSCRIPTS, &parts),
            };
            let answer = bench.send(request).await;
            assert!(answer.body.starts_with(first), "{operation}: {}", answer.body);
            let record = bench.row(&answer).record;
            assert!(record.stream && record.ttft_us.is_some(), "{operation}");
            if is_whole {
                assert!(answer.body.contains(last), "{operation}: {}", answer.body);
                assert_eq!(
                    (record.outcome, record.usage_source),
                    (Outcome::Success, UsageSource::Provider),
                    "{operation}"
                );
                assert_eq!((record.usage.input_tokens, record.usage.output_tokens), (Some(5), Some(7)), "{operation}");
                assert!(record.cost_usd.is_some());
            } else {
                assert!(answer.body.contains("upstream_incomplete"), "{operation}: {}", answer.body);
                assert_eq!(record.outcome, Outcome::Failed, "{operation}");
            }
        }
    }
}

#[tokio::test]
async fn sound_pictures_and_speech_cost_what_they_are_sold_by() {
    let price_list = |address, list: &str| {
        let mut settings = settings(address);
        settings.providers.iter_mut().for_each(|provider| provider.price_as = Some(list.to_owned()));
        settings
    };
    let seconds = r#"{"text":"Hello","usage":{"type":"duration","seconds":10}}"#;
    let up = Provider::answering(provider::json(200, seconds)).await;
    let bench = Bench::start(price_list(up.address, "openai")).await;
    let parts: [(&str, &[u8]); 2] = [("name=file; filename=a.mp3", SOUND), ("name=model", b"up/whisper-1")];
    let record = bench.row(&bench.send(bench.upload(TRANSCRIPTS, &parts)).await).record;
    assert_eq!(record.cost_usd.map(|cost| cost.to_string()).as_deref(), Some("0.001"), "0.6 cents a minute");
    assert_eq!(record.price_id.as_deref(), Some("openai/whisper-1@release"));

    let up = Provider::answering(bytes("audio/mpeg", SOUND)).await;
    let bench = Bench::start(price_list(up.address, "openai")).await;
    let body = r#"{"model":"up/tts-1","input":"Gruezi mitenand","voice":"alloy"}"#;
    let record = bench.row(&bench.post("/v1/audio/speech", body).await).record;
    assert_eq!(record.cost_usd.map(|cost| cost.to_string()).as_deref(), Some("0.000225"), "15 characters");

    let up = Provider::answering(provider::json(200, r#"{"data":[{"url":"a"},{"url":"b"}]}"#)).await;
    let bench = Bench::start(price_list(up.address, "xai")).await;
    let body = r#"{"model":"up/grok-imagine-image","prompt":"a cat","n":2}"#;
    let record = bench.row(&bench.post("/v1/images/generations", body).await).record;
    assert_eq!(record.cost_usd.map(|cost| cost.to_string()).as_deref(), Some("0.04"));
    let images = record.tags.iter().find(|(name, _)| name == "tollgate.images");
    assert_eq!(images.map(|(_, value)| value.as_str()), Some("2"));
}
