"""Files of music: MIDI and MusicXML in and out, scores, rolls, sound."""
