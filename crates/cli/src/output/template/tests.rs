use serde_json::json;

use super::*;

fn render(template: &str, data: &Value) -> String {
    Template::parse(template)
        .and_then(|parsed| parsed.execute(data))
        .unwrap_or_else(|error| panic!("{template}: {error}"))
}

fn failure(template: &str, data: &Value) -> String {
    match Template::parse(template).and_then(|parsed| parsed.execute(data)) {
        Ok(text) => panic!("{template} gave {text:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn fields_pipelines_and_functions() {
    let data = json!({"Name": "web one", "List": ["a", "b"], "N": 3, "M": {"k": "v"}, "F": 1.5, "Z": null, "L": {}});
    let cases = [
        ("{{.Name}}", "web one"),
        (
            "{{ . | json }}",
            "{\"F\":1.5,\"L\":{},\"List\":[\"a\",\"b\"],\"M\":{\"k\":\"v\"},\"N\":3,\"Name\":\"web one\",\"Z\":null}",
        ),
        ("{{json .M}} {{.M}} {{.List}} {{.Z}}", "{\"k\":\"v\"} map[k:v] [a b] <no value>"),
        ("{{join .List \",\"}}", "a,b"),
        ("{{upper .Name}} {{.Name | lower}} {{title .Name}}", "WEB ONE web one Web One"),
        ("{{range split .Name \" \"}}[{{.}}]{{end}}", "[web][one]"),
        ("{{truncate .Name 3}}{{pad \"x\" 1 2}}|", "web x  |"),
        ("{{index .M \"k\"}} {{index .List 1}} {{len .List}} {{index .M \"none\"}}|", "v b 2 |"),
        ("{{printf \"%-5s|%03d\" \"ab\" .N}}", "ab   |003"),
        ("{{.N | printf \"%d-%d\" 1}}", "1-3"),
        ("{{println .N \"x\"}}", "3 x\n"),
        ("{{print 1 2 \"a\" 3}}", "1 2a3"),
        ("{{slice .Name 4}}{{slice .List 0 1}}", "one[a]"),
        ("{{(index .List 0)}}{{$.N}}{{.F}}", "a31.5"),
        ("{{eq .N 1 2 3}} {{ne .Name \"x\"}} {{lt 1 1.5}} {{not .Z}}", "true true true true"),
        ("{{or .Z .Name}} {{and .N .L}}", "web one map[]"),
        ("{{or true .Nonsense}}", "true"),
        ("a\\tb\\n{{\"c\\td\"}}", "a\tb\nc\td"),
    ];
    for (template, wanted) in cases {
        assert_eq!(render(template, &data), wanted, "{template}");
    }
}

#[test]
fn control_and_variables() {
    let data = json!({"N": 3, "List": [1, 2, 3, 4], "M": {"a": 1, "b": 2}, "E": []});
    let cases = [
        ("{{if eq .N 3}}three{{else if gt .N 3}}more{{else}}less{{end}}", "three"),
        ("{{if eq .N 4}}four{{else if lt .N 3}}less{{else}}other{{end}}", "other"),
        ("{{with .M}}{{.a}}{{$.N}}{{end}}{{with .E}}x{{else}}none{{end}}", "13none"),
        ("{{range .List}}{{.}}{{else}}none{{end}} {{range .E}}x{{else}}none{{end}}", "1234 none"),
        ("{{range $i, $v := .List}}{{$i}}={{$v}} {{end}}", "0=1 1=2 2=3 3=4 "),
        ("{{range $k, $v := .M}}{{$k}}{{$v}}{{end}}", "a1b2"),
        ("{{range .List}}{{if eq . 3}}{{break}}{{end}}{{if eq . 1}}{{continue}}{{end}}{{.}}{{end}}", "2"),
        ("{{$x := 1}}{{range .List}}{{$x = .}}{{end}}{{$x}}", "4"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{if $y := .N}}{{$y}}{{end}}", "3"),
        ("a {{- /* comment */ -}} b", "ab"),
    ];
    for (template, wanted) in cases {
        assert_eq!(render(template, &data), wanted, "{template}");
    }
}

#[test]
fn label_is_a_method() {
    let data = json!({LABEL_MAP: {"com.a": "1"}, "Labels": "com.a=1"});
    assert_eq!(render("{{.Label \"com.a\"}}", &data), "1");
    assert_eq!(render("{{upper (.Label \"none\")}}|", &data), "|");
    assert_eq!(render("{{\"com.a\" | .Label}}", &data), "1");
    assert_eq!(render("{{with .Labels}}{{$.Label \"com.a\"}}{{end}}", &data), "1");
    assert_eq!(render("{{if eq (.Label \"com.a\") \"1\"}}y{{end}}", &data), "y");
    assert_eq!(render("{{json .}}", &data), "{\"Labels\":\"com.a=1\"}");
    assert!(failure("{{.Label}}", &data).contains(".Label \"name\""));
}

#[test]
fn what_go_refuses_is_refused() {
    let data = json!({"A": 1, "B": "x", "L": [1]});
    for template in [
        "{{if .A}}",
        "{{range .L}}x",
        "{{else}}",
        "{{end}}",
        "{{.A}} {{.B | }}",
        "{{.A",
        "{{ $x }}",
        "{{.A.}}",
        "{{1 2}}",
        "{{\"a}}",
        "{{if}}x{{end}}",
        "{{ .A .B }}",
        "{{template \"x\"}}",
        "{{}}",
        "{{.A | .B}}",
        "{{break}}",
        "{{nope .A}}",
        "{{len}}",
        "{{len 1}}",
        "{{upper .A}}",
        "{{eq .A .B}}",
        "{{index .L 5}}",
        "{{.A.C}}",
        "{{$x = 1}}",
        "{{(.A}}",
        "{{.A)}}",
        "{{if .A}}a{{else}}b{{else}}c{{end}}",
        "{{range .A | len}}{{end}}",
        "{{print upper .B}}",
    ] {
        let text = failure(template, &data);
        assert!(text.contains('^'), "{template}: {text}");
    }
}

#[test]
fn errors_point_to_the_place() {
    let data = json!({"State": {"Running": true}, "Id": "x", "Names": "n"});
    assert_eq!(
        failure("{{.Id}} {{uper .Id}}", &data),
        "--format: there is no function \"uper\"; did you mean \"upper\"?\n  {{.Id}} {{uper .Id}}\n            ^"
    );
    assert_eq!(
        failure("{{.State.Runing}}", &data),
        "--format: there is no field \"Runing\" here; did you mean Running?\n  {{.State.Runing}}\n           ^"
    );
    assert!(failure("{{.Running}}", &data).contains("did you mean .State.Running?"));
    assert!(failure("{{.id}}", &data).contains("did you mean Id?"));
    assert!(failure("x\n{{.Zzzzz}}", &data).ends_with("fields here: Id Names State\n  {{.Zzzzz}}\n     ^"));
}

#[test]
fn templates_are_bounded() {
    assert!(Template::parse(&"x".repeat(20_000)).is_err());
    let nested = |depth: usize| format!("{{{{{}1{}}}}}", "(".repeat(depth), ")".repeat(depth));
    assert!(Template::parse(&nested(50)).is_ok());
    assert!(Template::parse(&nested(5000)).is_err());
    assert!(Template::parse(&"{{if 1}}".repeat(1500)).is_err());
    let loops = "{{range 1000}}{{range 1000}}{{range 1000}}{{end}}{{end}}{{end}}";
    assert!(failure(loops, &json!({})).contains("million"));
}

proptest::proptest! {
    #[test]
    fn any_text_parses_or_is_refused(source in "([{]{2}|[}]{2}|[-.a-zA-Z()|$:=\" \\\\,0-9éif]|if |end|else|range |with |printf ){0,40}") {
        if let Ok(template) = Template::parse(&source) {
            let _ = template.execute(&json!({"a": {"b": [1, "x"]}, "i": "n"}));
        }
    }
}
