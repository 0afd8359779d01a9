//! The flags that the program brings along, so that the demonstration needs no network and no download.
//!
//! The pictures are Twemoji (<https://github.com/jdecked/twemoji>), copyright Twitter, Inc and other contributors,
//! licensed under CC-BY 4.0.

/// Returns the flag of the country with this code, two small letters, as a PNG of 72 by 72 pixels.
///
/// Returns `None` if the code has no flag.
pub(super) fn flag(code: &str) -> Option<&'static [u8]> {
    let found = FLAGS.binary_search_by(|(emoji, _)| letters(emoji).cmp(code.chars()));
    found.ok().map(|index| FLAGS[index].1)
}

/// Whether the country with this code, two small letters, has a flag here.
pub(crate) fn has_flag(code: &str) -> bool {
    flag(code).is_some()
}

/// Returns the letters that a flag is written with: the two characters of 🇩🇪 stand for `d` and `e`.
fn letters(emoji: &str) -> impl Iterator<Item = char> {
    emoji.chars().filter_map(|symbol| {
        let place = u32::from(symbol).checked_sub(u32::from('🇦'))?;
        char::from_u32(u32::from('a') + place)
    })
}

macro_rules! pictures {
    ($($emoji:tt)*) => { &[$(($emoji, twemoji_assets::png_twemoji_asset!($emoji).data.0)),*] };
}

/// Every flag there is, in the order of its code. Naming them one by one keeps the other emoji, some 4 MB, out of
/// the program.
static FLAGS: &[(&str, &[u8])] = pictures![
    "🇦🇨" "🇦🇩" "🇦🇪" "🇦🇫" "🇦🇬" "🇦🇮" "🇦🇱" "🇦🇲" "🇦🇴" "🇦🇶" "🇦🇷" "🇦🇸" "🇦🇹" "🇦🇺" "🇦🇼" "🇦🇽"
    "🇦🇿" "🇧🇦" "🇧🇧" "🇧🇩" "🇧🇪" "🇧🇫" "🇧🇬" "🇧🇭" "🇧🇮" "🇧🇯" "🇧🇱" "🇧🇲" "🇧🇳" "🇧🇴" "🇧🇶" "🇧🇷"
    "🇧🇸" "🇧🇹" "🇧🇻" "🇧🇼" "🇧🇾" "🇧🇿" "🇨🇦" "🇨🇨" "🇨🇩" "🇨🇫" "🇨🇬" "🇨🇭" "🇨🇮" "🇨🇰" "🇨🇱" "🇨🇲"
    "🇨🇳" "🇨🇴" "🇨🇵" "🇨🇶" "🇨🇷" "🇨🇺" "🇨🇻" "🇨🇼" "🇨🇽" "🇨🇾" "🇨🇿" "🇩🇪" "🇩🇬" "🇩🇯" "🇩🇰" "🇩🇲"
    "🇩🇴" "🇩🇿" "🇪🇦" "🇪🇨" "🇪🇪" "🇪🇬" "🇪🇭" "🇪🇷" "🇪🇸" "🇪🇹" "🇪🇺" "🇫🇮" "🇫🇯" "🇫🇰" "🇫🇲" "🇫🇴"
    "🇫🇷" "🇬🇦" "🇬🇧" "🇬🇩" "🇬🇪" "🇬🇫" "🇬🇬" "🇬🇭" "🇬🇮" "🇬🇱" "🇬🇲" "🇬🇳" "🇬🇵" "🇬🇶" "🇬🇷" "🇬🇸"
    "🇬🇹" "🇬🇺" "🇬🇼" "🇬🇾" "🇭🇰" "🇭🇲" "🇭🇳" "🇭🇷" "🇭🇹" "🇭🇺" "🇮🇨" "🇮🇩" "🇮🇪" "🇮🇱" "🇮🇲" "🇮🇳"
    "🇮🇴" "🇮🇶" "🇮🇷" "🇮🇸" "🇮🇹" "🇯🇪" "🇯🇲" "🇯🇴" "🇯🇵" "🇰🇪" "🇰🇬" "🇰🇭" "🇰🇮" "🇰🇲" "🇰🇳" "🇰🇵"
    "🇰🇷" "🇰🇼" "🇰🇾" "🇰🇿" "🇱🇦" "🇱🇧" "🇱🇨" "🇱🇮" "🇱🇰" "🇱🇷" "🇱🇸" "🇱🇹" "🇱🇺" "🇱🇻" "🇱🇾" "🇲🇦"
    "🇲🇨" "🇲🇩" "🇲🇪" "🇲🇫" "🇲🇬" "🇲🇭" "🇲🇰" "🇲🇱" "🇲🇲" "🇲🇳" "🇲🇴" "🇲🇵" "🇲🇶" "🇲🇷" "🇲🇸" "🇲🇹"
    "🇲🇺" "🇲🇻" "🇲🇼" "🇲🇽" "🇲🇾" "🇲🇿" "🇳🇦" "🇳🇨" "🇳🇪" "🇳🇫" "🇳🇬" "🇳🇮" "🇳🇱" "🇳🇴" "🇳🇵" "🇳🇷"
    "🇳🇺" "🇳🇿" "🇴🇲" "🇵🇦" "🇵🇪" "🇵🇫" "🇵🇬" "🇵🇭" "🇵🇰" "🇵🇱" "🇵🇲" "🇵🇳" "🇵🇷" "🇵🇸" "🇵🇹" "🇵🇼"
    "🇵🇾" "🇶🇦" "🇷🇪" "🇷🇴" "🇷🇸" "🇷🇺" "🇷🇼" "🇸🇦" "🇸🇧" "🇸🇨" "🇸🇩" "🇸🇪" "🇸🇬" "🇸🇭" "🇸🇮" "🇸🇯"
    "🇸🇰" "🇸🇱" "🇸🇲" "🇸🇳" "🇸🇴" "🇸🇷" "🇸🇸" "🇸🇹" "🇸🇻" "🇸🇽" "🇸🇾" "🇸🇿" "🇹🇦" "🇹🇨" "🇹🇩" "🇹🇫"
    "🇹🇬" "🇹🇭" "🇹🇯" "🇹🇰" "🇹🇱" "🇹🇲" "🇹🇳" "🇹🇴" "🇹🇷" "🇹🇹" "🇹🇻" "🇹🇼" "🇹🇿" "🇺🇦" "🇺🇬" "🇺🇲"
    "🇺🇳" "🇺🇸" "🇺🇾" "🇺🇿" "🇻🇦" "🇻🇨" "🇻🇪" "🇻🇬" "🇻🇮" "🇻🇳" "🇻🇺" "🇼🇫" "🇼🇸" "🇽🇰" "🇾🇪" "🇾🇹"
    "🇿🇦" "🇿🇲" "🇿🇼"
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_found_by_its_code_and_is_a_picture() {
        for (emoji, picture) in FLAGS {
            let code: String = letters(emoji).collect();

            assert_eq!(code.len(), 2);
            assert_eq!(flag(&code), Some(*picture), "{code}");
            assert!(picture.starts_with(b"\x89PNG"), "{code}");
        }
    }

    #[test]
    fn a_code_without_a_flag_has_none() {
        for code in ["zz", "DE", "d", "", "deu", "🇩🇪", "dé"] {
            assert_eq!(flag(code), None, "{code}");
        }
    }

    #[test]
    fn the_twenty_most_populous_countries_have_flags() {
        let codes = "cn in us id br pk ng bd ru jp mx ph vn et eg de ir tr cd fr";

        assert!(codes.split(' ').all(|code| flag(code).is_some()));
    }
}
