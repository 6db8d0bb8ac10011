"""URLs that a server must not fetch for strangers, in more than two hundred ways of writing them."""

# ruff: noqa: RUF001  # letters that look like others are what some of these are about

PRIVATE = (
    *("127.0.0.1", "127.0.0.2", "127.255.255.254", "0.0.0.0", "0.1.2.3"),
    *("10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255"),
    *("169.254.169.254", "169.254.0.1", "169.254.170.2", "100.64.0.1", "100.100.100.200", "100.127.255.255"),
    *("168.63.129.16", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.31.196.1", "192.52.193.1"),
    *("198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7", "192.175.48.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
)
PRIVATE_6 = (
    *(
        "::",
        "::1",
        "0:0:0:0:0:0:0:1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "ff0e::1",
    ),
    *("::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:93.184.216.34"),
    *("::127.0.0.1", "::7f00:1", "::169.254.169.254", "::ffff:0:127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::127.0.0.1", "64:ff9b:1::a00:1"),
    *("2002:7f00:1::", "2002:7f00:1::1", "2002:a9fe:a9fe::", "2002:c0a8:1::1"),
    *("2001::1", "2001:0:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1", "2001:20::1"),
    *("2001:db8::1", "3fff::1", "100::1", "5f00::1", "4000::1", "2620:4f:8000::1"),
    *("2606:2800::5efe:10.0.0.1", "2606:2800::200:5efe:127.0.0.1"),
)
NUMBERS = (  # 127.0.0.1, 169.254.169.254, 10.0.0.1, 192.168.0.1 as the C library reads them, and unlike anything
    *("2130706433", "0x7f000001", "0x7F000001", "017700000001", "0177.0.0.1", "0177.0.0.01", "0x7f.0.0.1", "0x7f.1"),
    *("127.1", "127.0.1", "127.0x0.0.1", "0x7f.0x0.0x0.0x1", "00000177.0.0.1", "127.0.0.01", "127.00.0.1", "0", "0x0"),
    *("2852039166", "0xa9fea9fe", "025177524776", "0251.0376.0251.0376", "0xa9.0xfe.0xa9.0xfe", "169.254.43518"),
    *("167772161", "0xa000001", "012.0.0.1", "10.1", "3232235521", "0xc0a80001", "0300.0250.0.1", "192.168.1", "1"),
    *("4294967295", "127.0.0.1.", "2130706433.", "0x7f.1.", "256.256.256.256", "127.0.0.0x", "1.2.3.4.5", "1e9.1"),
    *("5955492609", "5955492673", "08.8.8.8", "0x5db8d822", "93.184.55330", "0x", "127.0.0.1.0x1"),
)
NAMES = (
    *("localhost", "LOCALHOST", "localhost.", "a.localhost", "printer", "intranet", "router.lan", "nas.local"),
    *("metadata.google.internal", "db.internal", "a.corp", "a.home", "host.localdomain", "a.home.arpa", "a.alt"),
    *("1.0.0.127.in-addr.arpa", "-a.com", "a-.com", "a..com", ".com", "..", ".", "", "a b.com", "a%00.com"),
    *(
        "%6c%6f%63%61%6c%68%6f%73%74",
        "127.0.0.1%00.shop.com",
        "127.0.0.1%2eshop.com",
        "sh*p.com",
        "shop,com",
        "a" * 64 + ".com",
    ),
)
IDN = (  # letters and dots that some readers take for plain ones
    *("ⓛocalhost", "ｌｏｃａｌｈｏｓｔ", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "locаlhost", "127。0。0。1", "127．0．0．1", "127｡0｡0｡1"),
    *(
        "１２７.0.0.1",
        "①②⑦.⓪.⓪.①",
        "𝟏𝟐𝟕.𝟎.𝟎.𝟏",
        "٠.٠.٠.٠",
        "localhost。",
        "a。localhost",
        "loc\u00adalhost",
        "xn--.com\u2100",
    ),
)
WHOLE = (
    *("", " ", "shop.com/a.jpg", "//shop.com/a.jpg", "http:", "http:/", "http://", "http:///a.jpg", "http:shop.com"),
    *(
        "ftp://shop.com/a",
        "file:///etc/passwd",
        "file://shop.com/etc/passwd",
        "gopher://shop.com:80/_",
        "dict://shop.com",
    ),
    *(
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "jar:http://shop.com!/a",
        "ldap://shop.com",
        "ws://shop.com",
    ),
    *("http://user@shop.com/", "http://user:word@shop.com/", "http://@shop.com/", "http://shop.com@127.0.0.1/"),
    *("http://127.0.0.1@shop.com/", "http://shop.com%40127.0.0.1/", "http://shop.com:80@127.0.0.1:80/"),
    *(
        "http://shop.com:22/",
        "http://shop.com:6379/",
        "http://shop.com:0/",
        "http://shop.com:99999/",
        "http://shop.com:-1/",
    ),
    *(
        "http://shop.com:443/",
        "https://shop.com:80/",
        "http://shop.com:8080/",
        "http://shop.com:80:80/",
        "http://shop.com:a/",
    ),
    *(
        "http://shop.com\\@127.0.0.1/",
        "http:\\\\127.0.0.1\\",
        "http://127.0.0.1\\.shop.com/",
        "http://shop.com/\r\nHost: a",
    ),
    *("http://shop.com/a b", "http://shop.com/\ta", " http://shop.com/", "http://shop.com/\n", "ht\ntp://shop.com/"),
    *("http://shop.com\u0000.evil.com/", "http://[::1", "http://::1]/", "http://[::1]:22/", "http://[shop.com]/"),
    *("http://[fe80::1%25eth0]/", "http://[::1%25lo]/", "http://[v1.a]/", "http://[127.0.0.1]/", "http://\ud800.com/"),
    *(
        "http://shop.com/\ud800",
        "http://127.0.0.1#@shop.com/",
        "http://127.0.0.1?@shop.com/",
        "http://shop.com/" + "a" * 2048,
    ),
)
BLOCKED = tuple(
    dict.fromkeys(
        [
            *(f"http://{address}/a.jpg" for address in (*PRIVATE, *NUMBERS, *NAMES, *IDN)),
            *(f"https://{address}/latest/meta-data" for address in PRIVATE[:15]),
            *(f"http://[{address}]/a.jpg" for address in PRIVATE_6),
            *WHOLE,
        ]
    )
)
