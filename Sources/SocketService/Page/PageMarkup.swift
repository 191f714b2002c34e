let pageMarkup = #"""
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <link rel="icon" href="data:,">
    <title>difffit</title>
    <style>/*STYLE*/</style>
    </head>
    <body>
    <header>
      <h1>difffit</h1>
      <p id="about">One frozen base, any domain.</p>
    </header>
    <main>
      <form id="form">
        <fieldset id="fields">
          <label class="wide">Domain <select id="model" name="model"></select></label>
          <label class="wide">Class <select id="class" name="class"></select></label>
          <label>Seed
            <span class="pair"><input id="seed" name="seed" inputmode="numeric" pattern="[0-9]{1,20}" placeholder="random" autocomplete="off">
            <button type="button" id="dice" title="A random seed" aria-label="A random seed">&#x2684;</button></span></label>
          <label>Images <input id="n" name="n" type="number" min="1" max="64" value="4" required></label>
          <label>Steps <input id="steps" name="steps" type="number" min="1" max="1000" value="40" required></label>
          <label>Guidance <input id="guidance_scale" name="guidance_scale" type="number" min="0" max="50" step="0.1" value="2" required></label>
          <label class="wide">Sampler <select id="sampler" name="sampler"></select></label>
        </fieldset>
        <div class="actions">
          <button type="submit" id="go">Sample</button>
          <button type="button" id="stop" hidden>Stop</button>
        </div>
        <label id="tokenrow" hidden>Access token <input id="token" type="password" autocomplete="off"></label>
      </form>
      <section aria-live="polite">
        <progress id="progress" max="1" value="0" hidden></progress>
        <p id="message" role="status"></p>
        <div id="pictures"></div>
        <div id="facts" hidden>
          <dl id="times"></dl>
          <p class="link"><a id="again" href="#">Link to these images</a> <button type="button" id="copy">Copy</button></p>
        </div>
      </section>
    </main>
    <script>/*SCRIPT*/</script>
    </body>
    </html>

    """#
