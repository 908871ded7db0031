use super::*;

fn agree<One: Simd, Other: Simd>(window: &Window, byte: u8) {
    let other: Window = std::array::from_fn(|i| window[i] ^ u8::from(i % 3 == 0));
    assert_eq!(One::equal(window, &other), Other::equal(window, &other));
    assert_eq!(One::string_stops(window), Other::string_stops(window), "{window:?}");
    assert_eq!(One::scalar_stops(window), Other::scalar_stops(window), "{window:?}");
    assert_eq!(One::beyond_ascii(window), Other::beyond_ascii(window));
    for looked_for in [b'.', byte, b'x'] {
        assert_eq!(One::places(window, looked_for), Other::places(window, looked_for));
    }
}

/// Numbers are compared where they are read (`digits.rs`).
#[test]
fn all_levels_agree_on_every_byte_and_place() {
    for byte in 0..=u8::MAX {
        for place in 0..16 {
            let mut window = [b'x'; 16];
            window[place] = byte;
            agree::<Portable, Base>(&window, byte);
        }
    }
}
